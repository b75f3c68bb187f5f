"""Models that PaddleClas has exported, with its own `inference.yml` and without, and its class."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, small_run

import ppcls
from ppcls.cli import main, predict_cls
from ppcls.compat.inference_cls import load_deploy_config
from ppcls.config import load_config
from ppcls.devices import gpu_count
from ppcls.errors import BundleError, ConfigError, DataError, RunError

NAMES = ["bleu pâle", "green", "red"]
OPS: list[dict[str, Any]] = [
    {"ResizeImage": {"resize_short": 36}},
    {"CropImage": {"size": 32}},
    {
        "NormalizeImage": {
            "channel_num": 3,
            "mean": [0.485, 0.456, 0.406],
            "order": "",
            "scale": 0.00392156862745098,
            "std": [0.229, 0.224, 0.225],
        }
    },
    {"ToCHWImage": None},
]


@pytest.fixture(scope="module")
def exported(colours: Path, random_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph with a softmax at its end, as PaddleClas exports it. Not to change."""
    config, overrides = small_run(colours, tmp_path_factory.mktemp("exported"))
    config = load_config(config, [*overrides, f"Global.pretrained_model={random_weights}"])
    return ppcls.export(config, softmax=True, check=False).folder


@pytest.fixture
def bare(exported: Path, tmp_path: Path) -> Path:
    """The folder as PaddleClas leaves it: a graph and weights."""
    folder = shutil.copytree(exported, tmp_path / "inference")
    (folder / "inference.yml").unlink()
    return folder


def described(folder: Path, **changes: Any) -> Path:
    """Write the `inference.yml` of PaddleClas's newest version to a folder."""
    # The same list twice becomes an alias, as in PaddleClas's files.
    shapes = {"x": [[1, 3, 32, 32], [1, 3, 32, 32], [8, 3, 32, 32]]}
    spec = {
        "Global": {"model_name": "SqueezeNet1_1"},
        "Hpi": {
            "backend_configs": {
                "paddle_infer": {"trt_dynamic_shapes": shapes},
                "tensorrt": {"dynamic_shapes": shapes},
            }
        },
        "PreProcess": {"transform_ops": OPS},
        "PostProcess": {"Topk": {"topk": 2, "label_list": NAMES}},
    }
    (folder / "inference.yml").write_text(yaml.dump(spec | changes, sort_keys=False))
    return folder


@pytest.fixture
def picture(colours: Path) -> Path:
    return colours / "red" / "image 03.PNG"


def test_its_own_description_is_read(bare: Path, colours: Path, picture: Path, capsys) -> None:
    (expected,) = ppcls.Predictor(bare, labels=NAMES, transforms=OPS, topk=2).predict(picture)
    folder = described(bare)
    (found,) = ppcls.Predictor(folder).predict(picture)
    assert found.label_names == expected.label_names
    assert found.scores == expected.scores
    assert main(["predict", str(folder), str(picture)]) == 0
    assert json.loads(capsys.readouterr().out)["class_ids"] == found.class_ids
    data = ["--data", str(colours / "val_list.txt"), "--json"]
    assert main(["eval", "--bundle", str(folder), *data]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 9
    # What the user states takes precedence.
    (other,) = ppcls.Predictor(folder, labels=["a", "b", "c"], topk=1).predict(picture)
    assert other.label_names == ["abc"[found.class_ids[0]]]
    (other,) = ppcls.Predictor(folder, transforms=[*OPS[1:3]]).predict(picture)
    assert other.error is None


def test_an_older_one_has_neither_a_name_nor_settings_of_engines(bare: Path, picture: Path) -> None:
    folder = described(bare)
    spec = yaml.safe_load((folder / "inference.yml").read_text())
    del spec["Global"], spec["Hpi"]
    (folder / "inference.yml").write_text(yaml.safe_dump(spec))
    (found,) = ppcls.Predictor(folder).predict(picture)
    assert found.error is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PostProcess": {"NormalizeFeatures": None}}, "for a classifier: PostProcess.Top"),
        ({"PostProcess": {"Topk": {"topk": 1, "label_list": []}}}, "label_list"),
        ({"PreProcess": {"transform_ops": [{"Resize": {}}]}}, "PreProcess.transform_ops.0"),
        ({"mode": "paddle"}, "no schema_version: not written by ppcls, nor by PaddleClas .*: mode"),
    ],
)
def test_what_is_wrong_in_it_is_named(bare: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=rf"inference\.yml: .*{message}"):
        ppcls.Predictor(described(bare, **changes))


def test_a_graph_that_gives_logits_is_told_what_helps(
    shared_bundle: Path, tmp_path: Path, picture: Path, colours: Path, capsys
) -> None:
    folder = described(shutil.copytree(shared_bundle, tmp_path / "logits"))
    with pytest.raises(RunError, match=r"use `ppcls predict --logits`, or ppcls\.Predictor"):
        list(ppcls.Predictor(folder).predict(picture))
    assert main(["predict", str(folder), str(picture), "--logits"]) == 0
    data = ["--data", str(colours / "val_list.txt")]
    assert main(["eval", "--bundle", str(folder), *data, "--logits"]) == 0


def test_an_export_does_not_replace_it(bare: Path, config_file: Path, ready: list[str]) -> None:
    before = described(bare).joinpath("inference.yml").read_bytes()
    with pytest.raises(RunError, match="not an export of ppcls; export to another folder"):
        ppcls.export(load_config(config_file, ready))
    assert (bare / "inference.yml").read_bytes() == before


def deploy(folder: Path, picture: Path, *more: str) -> list[str]:
    """Return the arguments of the documented command, for a model of 32 pixels."""
    options = [f"Global.infer_imgs={picture}", f"Global.inference_model_dir={folder}", *more]
    config = ROOT / "deploy/configs/inference_cls.yaml"
    return ["-c", str(config), *(text for option in options for text in ("-o", option))]


def test_the_documented_command_numbers_the_classes(
    bare: Path, picture: Path, tmp_path: Path, capsys
) -> None:
    nameless = "PostProcess.Topk.class_id_map_file=None"
    assert predict_cls.main(deploy(bare, picture, nameless)) == 2
    assert "needs PreProcess.transform_ops" in capsys.readouterr().err
    ops = f"PreProcess.transform_ops={json.dumps(OPS)}"
    assert predict_cls.main(deploy(bare, picture, ops, nameless)) == 0
    (expected,) = ppcls.Predictor(bare, labels=[], transforms=OPS).predict(picture)
    assert expected.label_names == [str(i) for i in expected.class_ids]
    assert f"label_name(s): {expected.label_names}" in capsys.readouterr().out
    names = tmp_path / "names.txt"
    names.write_text("".join(f"{i} {name}\n" for i, name in enumerate(NAMES)), encoding="utf-8")
    named = f"PostProcess.Topk.class_id_map_file={names}"
    assert predict_cls.main(deploy(bare, picture, ops, named)) == 0
    assert repr(NAMES[0]) in capsys.readouterr().out
    assert predict_cls.main(deploy(described(bare), picture, nameless)) == 0
    assert repr(NAMES[0]) in capsys.readouterr().out


def test_a_missing_deployment_file_is_no_recipe(tmp_path: Path) -> None:
    for name in (tmp_path / "gone.yaml", tmp_path, "HarDNet68"):
        with pytest.raises(
            ConfigError, match=r"no such config file: .*deploy/configs/inference_cl"
        ):
            load_deploy_config(name)


@pytest.mark.parametrize(
    "text",
    [
        "PostProcess: {name: Topk, topk: 3, class_id_map_file: a.txt}",
        "PostProcess: {main_indicator: Topk, Topk: {topk: 3, class_id_map_file: a.txt}}",
        "PostProcess: {Topk: {topk: 3, class_id_map_file: a.txt}, SavePreLabel: {save_dir: x}}",
    ],
)
def test_both_forms_of_the_deployment_file_mean_the_same(tmp_path: Path, text: str) -> None:
    (tmp_path / "deploy.yaml").write_text(text)
    after = load_deploy_config(tmp_path / "deploy.yaml").PostProcess
    assert after is not None
    assert (after.Topk.topk, after.Topk.class_id_map_file) == (3, "a.txt")
    for override in (
        "PostProcess.topk=2",
        "PostProcess.Topk.topk=2",
        "PostProcess={name: Topk, topk: 2}",
    ):
        wished = load_deploy_config(tmp_path / "deploy.yaml", [override]).PostProcess
        assert wished is not None
        assert wished.Topk.topk == 2
    nameless = ["PostProcess.Topk.class_id_map_file=None"]
    after = load_deploy_config(tmp_path / "deploy.yaml", nameless).PostProcess
    assert after is not None
    assert after.Topk.class_id_map_file is None


def test_the_class_takes_its_documented_arguments(
    bare: Path, picture: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"{i} {name}\n" for i, name in enumerate(NAMES)), encoding="utf-8")
    with pytest.raises(DataError, match="1000 class names, but the network's output has 3 class"):
        list(ppcls.PaddleClas(inference_model_dir=bare).predict(picture))
    clas = ppcls.PaddleClas(
        inference_model_dir=bare,
        class_id_map_file=names,
        resize_short=36,
        crop_size=32,
        save_dir=tmp_path / "labelled",
        batch_size=4,
        topk=3,
    )
    (expected,) = ppcls.Predictor(described(bare), topk=3).predict(picture)
    ((answer,),) = clas.predict(str(picture))
    assert answer["class_ids"] == expected.class_ids
    assert answer["label_names"] == expected.label_names
    best = tmp_path / "labelled" / str(answer["class_ids"][0])
    assert (best / picture.name).read_bytes() == picture.read_bytes()
    list(clas.predict(str(picture)))  # the same file again
    (best / picture.name).write_bytes(b"another")
    with pytest.raises(RunError, match=r"image 03\.PNG: another image of that name is there"):
        list(clas.predict(str(picture)))

    own = ppcls.PaddleClas(inference_model_dir=bare, resize_short=36, crop_size=32)
    assert own.predict(picture)
    for options, message in (
        ({"resize_short": 256}, "resize_short is 256, but the model was exported with 36"),
        ({"crop_size": 224}, "crop_size is 224, but the model was exported with 32"),
        ({"crop_sise": 32}, "no option 'crop_sise'; did you mean 'crop_size'"),
    ):
        with pytest.raises(ConfigError, match=message):
            ppcls.PaddleClas(inference_model_dir=bare, **options)
    if not gpu_count():
        with pytest.raises(RunError, match="finds no GPU; use use_gpu=False, or install"):
            ppcls.PaddleClas(inference_model_dir=bare, use_gpu=True)
    with pytest.raises(ConfigError, match=r"inference_model_dir: .*gone: no such folder"):
        ppcls.PaddleClas(inference_model_dir=tmp_path / "gone")
