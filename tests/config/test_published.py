"""The published YAMLs of our architectures, with every key they have: they load and mean ours."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from ppcls.cli import main
from ppcls.config import dump_config, load_config
from ppcls.config.class_names import label_names
from ppcls.config.printing import diff_configs
from ppcls.config.yaml_files import parse_yaml
from ppcls.errors import ConfigError, DataError
from ppcls.models.catalogue import model_card
from ppcls.yaml_text import to_yaml

LONG: dict[str, Any] = {"epochs": 200, "lr": {"name": "Cosine", "learning_rate": 0.1}, "mix": True}
SQUEEZE: dict[str, Any] = {"lr": {"name": "Cosine", "learning_rate": 0.02}, "batch": 128}
DECAY = {"name": "Piecewise", "decay_epochs": [30, 60, 90]}
ALEX = {"lr": DECAY | {"values": [0.01, 0.001, 0.0001, 0.00001]}}
AMP = {
    "use_amp": False,
    "use_fp16_test": False,
    "scale_loss": 128.0,
    "use_dynamic_loss_scaling": True,
    "use_promote": False,
    "level": "O1",
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "HarDNet39_ds": {},
    "HarDNet68_ds": {"old": True},
    "HarDNet68": {},
    "HarDNet85": {},
    **{f"HRNet_W{width}_C": {} for width in (18, 30, 32, 40, 44, 64)},
    "HRNet_W48_C": {"amp": True},
    "DenseNet121": {"old": True},
    **{f"DenseNet{depth}": {} for depth in (161, 169, 201, 264)},
    **{f"DPN{depth}": LONG for depth in (68, 98, 107, 131)},
    "DPN92": LONG | {"amp": True},
    "AlexNet": ALEX,
    "SqueezeNet1_0": SQUEEZE,
    "SqueezeNet1_1": SQUEEZE,
    "DarkNet53": LONG | {"size": 256, "short": 292},
    "SENet154_vd": LONG | {"coeff": 0.00007, "old": True},
}


def published(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a published file: `old` ones have the number of classes in Global."""
    size, short = options.get("size", 224), options.get("short", 256)
    values = {"learning_rate": 0.1, "values": [0.1, 0.01, 0.001, 0.0001]}
    decode = {"DecodeImage": {"to_rgb": True, "channel_first": False}}
    normalize = {
        "NormalizeImage": {
            "scale": "1.0/255.0",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "order": "",
        }
    }
    evaluation = [decode, {"ResizeImage": {"resize_short": short}}, {"CropImage": {"size": size}}]
    evaluation.append(normalize)
    training = [decode, {"RandCropImage": {"size": size}}, {"RandFlipImage": {"flip_code": 1}}]
    training.append(normalize)

    def loader(part: str, ops: list, batch: int) -> dict[str, Any]:
        return {
            "dataset": {
                "name": "ImageNetDataset",
                "image_root": "./dataset/ILSVRC2012/",
                "cls_label_path": f"./dataset/ILSVRC2012/{part}_list.txt",
                "transform_ops": ops,
            },
            "sampler": {
                "name": "DistributedBatchSampler",
                "batch_size": batch,
                "drop_last": False,
                "shuffle": part == "train",
            },
            "loader": {"num_workers": 4, "use_shared_memory": True},
        }

    data: dict[str, Any] = {
        "Global": {
            "checkpoints": None,
            "pretrained_model": None,
            "output_dir": "./output/",
            "device": "gpu",
            "save_interval": 1,
            "eval_during_train": True,
            "eval_interval": 1,
            "epochs": options.get("epochs", 120),
            "print_batch_step": 10,
            "use_visualdl": False,
            "image_shape": [3, size, size],
            "save_inference_dir": "./inference",
        },
        "Arch": {"name": name},
        "Loss": {"Train": [{"CELoss": {"weight": 1.0}}], "Eval": [{"CELoss": {"weight": 1.0}}]},
        "Optimizer": {
            "name": "Momentum",
            "momentum": 0.9,
            "lr": options.get("lr", DECAY | values),
            "regularizer": {"name": "L2", "coeff": options.get("coeff", 0.0001)},
        },
        "DataLoader": {
            "Train": loader("train", training, options.get("batch", 64)),
            "Eval": loader("val", evaluation, 64),
        },
        "Infer": {
            "infer_imgs": "docs/images/inference_deployment/whl_demo.jpg",
            "batch_size": 10,
            "transforms": [*evaluation, {"ToCHWImage": None}],
            "PostProcess": {
                "name": "Topk",
                "topk": 5,
                "class_id_map_file": "ppcls/utils/imagenet1k_label_list.txt",
            },
        },
        "Metric": {
            "Train": [{"TopkAcc": {"topk": [1, 5]}}],
            "Eval": [{"TopkAcc": {"topk": [1, 5]}}],
        },
    }
    data["Global" if options.get("old") else "Arch"]["class_num"] = 1000
    if options.get("amp"):
        data["AMP"] = AMP
    if options.get("mix"):
        data["Loss"]["Train"][0]["CELoss"]["epsilon"] = 0.1
        data["DataLoader"]["Train"]["dataset"]["batch_transform_ops"] = [
            {"MixupOperator": {"alpha": 0.2}}
        ]
        data["Metric"]["Train"] = None
    return data


# What we say otherwise on purpose: the device, no image of theirs, how large a batch the rates are
# for, and sizes of images, which are what one size asks for. The rest has no effect: a first rate
# said twice, mixed precision that is off.
OURS = ("Global.device", "Infer.infer_imgs", "Optimizer.lr.reference_batch")
SAME = ("Optimizer.lr.learning_rate: - -> 0.1", "AMP.", "Global.image_shape", "transform")


def write(folder: Path, name: str, data: dict[str, Any]) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_load_and_mean_the_same(name: str, tmp_path: Path) -> None:
    assert len(PUBLISHED) == 26
    path = write(tmp_path, name, published(name, PUBLISHED[name]))
    ours, theirs = load_config(name), load_config(path)
    for part in ("Train", "Eval", "Infer"):
        assert ours.pipeline(part).gives_same(theirs.pipeline(part))
    assert ours.input_shape() == theirs.input_shape() == theirs.Global.image_shape
    found = diff_configs(ours, theirs)
    assert [x for x in found if not x.startswith(OURS) and not any(s in x for s in SAME)] == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_paths_find_the_recipes(name: str) -> None:
    family = model_card(name).family
    for root in (
        "./ppcls/configs",
        "ppcls/configs",
        "../ppcls/configs",
        "PaddleClas/ppcls/configs",
    ):
        assert load_config(f"{root}/ImageNet/{family}/{name}.yaml") == load_config(name)


NAMES = "Infer.PostProcess.class_id_map_file"


@pytest.mark.parametrize("name", PUBLISHED)
def test_other_classes_leave_the_names_of_imagenet_out(name: str, tmp_path: Path) -> None:
    """ImageNet's names are the default of a recipe, not the wish of who sets the classes."""
    data = published(name, PUBLISHED[name])
    path = write(tmp_path, name, data)
    for source in (path, name):
        with pytest.warns(UserWarning, match=r"of ImageNet, but Arch.class_num is 10: the classes"):
            config = load_config(source, ["Arch.class_num=10"])
        assert (config.Arch.class_num, label_names(config)) == (10, [str(i) for i in range(10)])
    data["Global" if "class_num" in data["Global"] else "Arch"]["class_num"] = 10
    with pytest.warns(UserWarning, match="of ImageNet"):
        assert label_names(load_config(write(tmp_path, "edited", data)))[9] == "9"
    # Named by the user, they stay, and are an error.
    wished = load_config(
        path, ["Arch.class_num=10", f"{NAMES}=ppcls/utils/imagenet1k_label_list.txt"]
    )
    with pytest.raises(DataError, match="1000 class names for a model with 10 classes"):
        label_names(wished)


def test_a_list_of_ones_own_at_the_published_path_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ppcls/utils").mkdir(parents=True)
    (tmp_path / "ppcls/utils/imagenet1k_label_list.txt").write_text("0 cat\n1 dog\n")
    assert label_names(load_config("DenseNet121", ["Arch.class_num=2"])) == ["cat", "dog"]


DOCUMENTED = [
    "Arch.pretrained=True",
    "Arch.pretrained=False",
    "Arch.pretrained=None",
    "Global.pretrained_model=None",
    "Global.pretrained_model=",
    "Global.checkpoints=None",
    "Global.device=cpu",
    'Global.output_dir="output_CIFAR"',
    "Global.image_shape=[3,224,224]",
    "Optimizer.lr.learning_rate=0.01",
    "DataLoader.Train.sampler.batch_size=32",
    "DataLoader.Train.dataset.batch_transform_ops=None",
    "DataLoader.Eval.sampler.name=BatchSampler",
    "Infer.infer_imgs=dataset/flowers102/jpg/image_00001.jpg",
    f"{NAMES}=None",
    "Metric.Train=None",
    "AMP=None",
    # Keys that other published files have, at values that change nothing here.
    "Optimizer.lr.last_epoch=-1",
    "Optimizer.multi_precision=True",
    "Arch.data_format=NCHW",
    "Arch.drop_path_rate=0.0",
    "Arch.input_image_channel=3",
    "Arch.infer_add_softmax=True",
    "AMP.use_pure_fp16=False",
    "Global.image_channel=3",
    "Global.use_dali=False",
    "Global.eval_mode=classification",
    "Global.uniform_output_enabled=True",
    "DataLoader.Train.dataset.relabel=False",
    "Infer.PostProcess.delimiter=None",
]


@pytest.mark.parametrize("override", DOCUMENTED)
def test_documented_overrides_are_accepted(override: str, tmp_path: Path) -> None:
    path = write(tmp_path, "DPN92", published("DPN92", PUBLISHED["DPN92"]))
    assert load_config(path, [override]).Arch.name == "DPN92"


def test_values_that_would_matter_are_refused() -> None:
    for override, message in (
        ("Arch.data_format=NHWC", "expected 'NCHW', not 'NHWC'"),
        ("Arch.drop_path_rate=0.2", "expected 0, not 0.2"),
        ("Optimizer.lr.last_epoch=7", "expected -1, not 7"),
        ("Global.use_dali=True", "expected False, not True"),
        ("AMP.use_pure_fp16=True", "expected False, not True: `level: O2` does it"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config("DPN92", [override])


@pytest.mark.parametrize("text", ["'None'", '"None"', "none", "Nonesuch"])
def test_none_is_null_and_other_text_is_text(text: str) -> None:
    assert load_config("DPN92", ["Global.pretrained_model=None"]).Global.pretrained_model is None
    config = load_config("DPN92", [f"Global.pretrained_model={text}"])
    assert config.Global.pretrained_model == text.strip("'\"")
    assert parse_yaml(dump_config(config), str)[0]["Global"]["pretrained_model"] == text.strip(
        "'\""
    )


@pytest.mark.parametrize("text", ["None", "null", "1e-4", "no", "017", "true", "", "~", "1:30"])
def test_text_that_looks_like_another_value_is_written_as_text(text: str) -> None:
    assert parse_yaml(to_yaml({"key": text}), str)[0] == {"key": text}


def test_the_number_of_classes_reaches_the_models_of_a_distillation(tmp_path: Path) -> None:
    data = published("SqueezeNet1_1", PUBLISHED["SqueezeNet1_1"])
    model = {"name": "SqueezeNet1_1", "class_num": 1000, "pretrained": False}
    data["Arch"] = {
        "name": "DistillationModel",
        "class_num": 1000,
        "pretrained_list": None,
        "freeze_params_list": [True, False],
        "infer_model_name": "Student",
        "models": [{"Teacher": model | {"return_patterns": None}}, {"Student": model}],
    }
    pair = {"weight": 1.0, "model_name_pairs": [["Student", "Teacher"]]}
    data["Loss"]["Train"] = [{"DistillationCELoss": pair}]
    data["Infer"]["PostProcess"] = {"name": "DistillationPostProcess", "func": "Topk", "topk": 5}
    data["Metric"] = {
        part: [{"DistillationTopkAcc": {"model_key": "Student", "topk": [1, 5]}}]
        for part in ("Train", "Eval")
    }
    path = write(tmp_path, "distillation", data)
    config = load_config(path, ["Arch.class_num=10"])
    assert [model.class_num for model in config.Arch.by_name.values()] == [10, 10]
    assert config.deployed().Arch.class_num == 10
    # A number of a model's own, on the command line too, is a contradiction.
    with pytest.raises(ConfigError, match=r"Teacher has 7 classes, but Arch\.class_num is 10"):
        load_config(path, ["Arch.class_num=10", "Arch.models.0.Teacher.class_num=7"])


def test_other_transforms_for_predictions_are_refused_by_every_command(tmp_path: Path) -> None:
    data = published("DPN68", PUBLISHED["DPN68"])
    data["Infer"] = deepcopy(data["Infer"])
    data["DataLoader"]["Eval"]["dataset"]["transform_ops"][3]["NormalizeImage"]["scale"] = (
        0.00392157
    )
    assert load_config(write(tmp_path, "rounded", data)).inference_pipeline()
    data["Infer"]["transforms"][1]["ResizeImage"]["resize_short"] = 300
    path = write(tmp_path, "other", data)
    with pytest.raises(ConfigError, match=r"Infer\.transforms differ.*-o Infer\.transforms=null"):
        load_config(path).inference_pipeline()
    assert load_config(path, ["Infer.transforms=null"]).inference_pipeline()
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"")
    for command in (
        ["infer", "-c", str(path), "--allow-random"],
        ["export", str(path), "--allow-random"],
    ):
        options = ["-o", f"Infer.infer_imgs={picture}", "Global.device=cpu"]
        assert main([*command, *options]) == 2
