"""The published YAMLs of our architectures, with every key they have: they load and mean ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ppcls.config import load_config
from ppcls.config.printing import diff_configs

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


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_load_and_mean_the_same(name: str, tmp_path: Path) -> None:
    assert len(PUBLISHED) == 26
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(published(name, PUBLISHED[name])), encoding="utf-8")
    ours, theirs = load_config(name), load_config(path)
    for part in ("Train", "Eval", "Infer"):
        assert ours.pipeline(part).gives_same(theirs.pipeline(part))
    assert ours.input_shape() == theirs.input_shape() == theirs.Global.image_shape
    found = diff_configs(ours, theirs)
    assert [x for x in found if not x.startswith(OURS) and not any(s in x for s in SAME)] == []
