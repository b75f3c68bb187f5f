"""Multi-label models are deployed: trained, evaluated, exported, and asked in every way."""

from __future__ import annotations

import csv
import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, several_labels, small_run

import ppcls
from ppcls.bundle import read_bundle
from ppcls.cli import main, predict_cls
from ppcls.config import load_config
from ppcls.errors import BundleError, ConfigError, RunError
from ppcls.exporting.parity import logit_range, require_same
from ppcls.inference.results import sigmoid

NAMES = ["cold", "warm", "has green"]
has_onnx = find_spec("paddle2onnx") is not None
needs_onnx = pytest.mark.skipif(not has_onnx, reason="the extra onnx is not installed")


@pytest.fixture
def trained(several: list[str], ready: list[str]) -> list[str]:
    """Overrides for the multi-label data with weights of a random model."""
    return [*several, ready[-1]]


@pytest.fixture(scope="module")
def made(colours: Path, random_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multi-label bundle. Not to change."""
    folder = tmp_path_factory.mktemp("made")
    config, overrides = small_run(colours, folder)
    overrides = several_labels(colours, overrides, folder)
    overrides.append(f"Global.pretrained_model={random_weights}")
    return ppcls.export(load_config(config, overrides)).folder


@pytest.fixture
def images(colours: Path) -> list[str]:
    return sorted(str(path) for path in colours.glob("*/*.PNG"))[::5]


@pytest.fixture
def labelled(several: list[str], colours: Path, tmp_path: Path) -> Path:
    """The list of the validation images, with whole paths."""
    lines = (tmp_path / "val.txt").read_text(encoding="utf-8").splitlines()
    path = tmp_path / "labelled.txt"
    path.write_text("".join(f"{colours / line}\n" for line in lines), encoding="utf-8")
    return path


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.process
@pytest.mark.training
def test_from_training_to_predictions(
    config_file: Path,
    several: list[str],
    images: list[str],
    labelled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    folder, bundle = tmp_path / "output/SqueezeNet1_1", tmp_path / "bundle"
    thresholds = "Infer.PostProcess.threshold={warm: 0.3, default: 0.45}"
    arguments = ["-o", *several, "Global.epochs=1", thresholds, "Metric.Eval=[{MultiLabelMAP: },"]
    arguments[-1] += "{AccuracyScore: {threshold: [0.45, 0.3, 0.45]}}]"
    assert main(["train", "-c", str(config_file), *arguments]) == 0

    best = str(folder / "best_model")
    weights = ["-c", str(folder / "config.yaml"), "-o", f"Global.pretrained_model={best}"]
    capsys.readouterr()
    assert main(["eval", *weights, "--json"]) == 0
    of_weights = json.loads(capsys.readouterr().out)
    names = [f"Infer.infer_imgs={tmp_path / 'list.txt'}"]
    (tmp_path / "list.txt").write_text("\n".join(images), encoding="utf-8")
    assert main(["infer", *weights, *names]) == 0
    expected = records(capsys.readouterr().out)
    assert {len(record["class_ids"]) for record in expected} <= {0, 1, 2, 3}

    options = ["--sigmoid", "--uint8-input", *(["--onnx"] if has_onnx else [])]
    assert main(["export", best, str(bundle), *options]) == 0
    assert "parity check passed: same logits on 9 images" in capsys.readouterr().out
    spec = yaml.safe_load((bundle / "inference.yml").read_text(encoding="utf-8"))
    assert spec["Output"] == {
        "classes": 3,
        "task": "multi_label",
        "softmax": False,
        "sigmoid": True,
        "features": False,
    }
    assert spec["PostProcess"] == {
        "MultiLabelThreshOutput": {"threshold": [0.45, 0.3, 0.45], "label_list": NAMES}
    }
    backends = ["paddle"]
    if has_onnx:
        backends += [name for name in ("onnxruntime", "openvino") if find_spec(name)]
    for backend in backends:
        assert main(["predict", str(bundle), *images, "--backend", backend]) == 0
        for found, wanted in zip(records(capsys.readouterr().out), expected, strict=True):
            assert found["scores"] == pytest.approx(wanted["scores"], abs=2e-5)
            assert found == wanted | {"scores": found["scores"]}
        command = ["eval", "--bundle", str(bundle), "--backend", backend, "--json"]
        for where in (["-c", str(folder / "config.yaml")], ["--data", str(labelled)]):
            assert main([*command, *where]) == 0
            of_bundle = json.loads(capsys.readouterr().out)
            assert of_bundle["images"] == 9
            for key in ("MultiLabelMAP", "AccuracyScore"):
                assert of_bundle[key] == pytest.approx(of_weights[key], abs=1e-6)
    assert {"AccuracyScore_sample", "HammingDistance"} < of_bundle.keys()


@pytest.mark.parametrize(
    "options",
    [
        {"features": True},
        pytest.param({"file_format": "pdmodel"}, marks=(pytest.mark.process, pytest.mark.slow)),
        pytest.param({"onnx": True}, marks=(pytest.mark.process, pytest.mark.slow, needs_onnx)),
    ],
    ids=str,
)
def test_a_sigmoid_in_the_graph_gives_the_same_answers(
    bundle: Path, config_file: Path, trained: list[str], images: list[str], options: dict
) -> None:
    with ppcls.Predictor(bundle) as one:
        logits = np.array([r.logits for r in one.predict_logits(images)])
        expected = np.array([r.all_scores for r in one.predict_scores(images)])
    np.testing.assert_allclose(sigmoid(logits), expected, atol=1e-12)
    result = ppcls.export(load_config(config_file, trained), sigmoid=True, **options)
    assert result.spec.parity.verified
    for backend in ("paddle", "onnxruntime")[: 1 + ("onnx" in options)]:
        with ppcls.Predictor(result.folder, backend=backend) as one:
            scores = [r.all_scores for r in one.predict_scores(images)]
            np.testing.assert_allclose(scores, expected, atol=1e-6)
            for found, row in zip(one.predict(images), scores, strict=True):
                assert found.class_ids == [i for i in np.argsort(-row) if row[i] > 0.5]
                assert found.scores == row[found.class_ids].tolist()
            with pytest.raises(ConfigError, match="exported with a sigmoid"):
                one.predict_logits(images)


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "made"))


def test_thresholds_of_one_prediction(bundle: Path, images: list[str]) -> None:
    def ids(**options) -> list[set[int]]:
        with ppcls.Predictor(bundle, **options) as one:
            return [set(result.class_ids) for result in one.predict(images)]

    with ppcls.Predictor(bundle) as one:
        scores = np.array([result.all_scores for result in one.predict_scores(images)])
    assert ids(threshold=0) == [{0, 1, 2}] * len(images)
    assert ids(threshold=1) == [set()] * len(images)
    middle = np.median(scores, axis=0).tolist()
    expected = [set(np.flatnonzero(row > middle).tolist()) for row in scores]
    assert ids(threshold=middle) == expected
    assert ids(threshold=dict(zip(NAMES, middle, strict=True))) == expected
    assert ids(threshold={"warm": 0.0, "default": 1.0}) == [{1}] * len(images)
    best = [{int(row.argmax())} for row in scores]
    assert ids(threshold=0.0, topk=1) == best
    for wrong, message in (
        ([0.5, 0.5], "threshold: 2 thresholds for 3 classes"),
        ({"warn": 0.5}, "threshold: no class is called 'warn'; did you mean 'warm'?"),
        ([0.5, 0.5, 2.0], "threshold.2: expected less than or equal to 1, not 2.0"),
        ("0.5", "expected a valid number, not '0.5'"),
    ):
        with pytest.raises(ConfigError, match="threshold") as error:
            ppcls.Predictor(bundle, threshold=wrong)
        assert message in str(error.value)


def test_an_answer_may_be_empty(
    bundle: Path,
    images: list[str],
    labelled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    table, pictures, grid = tmp_path / "a.csv", tmp_path / "pictures", tmp_path / "grid.png"
    command = ["predict", str(bundle), "--backend", "paddle"]
    more = ["--threshold", "1", "--csv", str(table), "--format", "table"]
    more += ["--save-images", str(pictures), "--grid", str(grid)]
    assert main([*command, *images, *more]) == 0
    assert f"{images[0]}  nothing above the threshold\n" in capsys.readouterr().out
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["filename"] for row in rows] == images
    assert {(r["class_ids"], r["scores"], r["label_names"], r["error"]) for r in rows} == {
        ("[]", "[]", "[]", "")
    }
    assert len(list(pictures.iterdir())) == len(images)
    assert grid.read_bytes().startswith(b"\x89PNG")

    # A list with labels: how many images have exactly their classes.
    assert main([*command, str(labelled), "--threshold", "0"]) == 0
    assert "exact match 0.00000: 0 of 9 images have exactly" in capsys.readouterr().err
    text = labelled.read_text(encoding="utf-8").replace("1,0,1", "1,1,1")
    labelled.write_text(text, encoding="utf-8")
    assert main([*command, str(labelled), "--threshold", "0", "--grid", str(grid)]) == 0
    assert "exact match 0.66667: 6 of 9" in capsys.readouterr().err
    for label in ("1,0", "2"):
        labelled.write_text(f"{images[0]}\t{label}\n", encoding="utf-8")
        assert main([*command, str(labelled)]) == 1
        told = f"label {label} in its list, but the multi-label model needs 0 or 1 for each of its"
        assert told in capsys.readouterr().err


def test_other_commands_take_a_multi_label_bundle(
    bundle: Path, images: list[str], capsys: pytest.CaptureFixture
) -> None:
    with ppcls.Predictor(bundle, backend="paddle") as one:
        (expected,) = one.predict(images[0])
    (found,) = ppcls.PaddleClas(inference_model_dir=bundle).predict(images[0])
    assert found[0]["label_names"] == expected.label_names
    deploy = ["-c", str(ROOT / "deploy/configs/inference_cls.yaml"), "-o"]
    deploy += [f"Global.infer_imgs={images[0]}", f"Global.inference_model_dir={bundle}"]
    assert predict_cls.main(deploy) == 0
    assert f"class id(s): {expected.class_ids}," in capsys.readouterr().out
    benchmark = ["benchmark", str(bundle), "--backends", "paddle", "--batch-sizes", "1"]
    assert main([*benchmark, "--seconds", "0.01"]) == 0


def test_options_that_do_not_fit(
    bundle: Path,
    config_file: Path,
    trained: list[str],
    overrides: list[str],
    labelled: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    with pytest.raises(ConfigError, match=r"this is a multi-label one: use sigmoid \(--sigmoid\)"):
        ppcls.export(load_config(config_file, trained), softmax=True)
    single = load_config(config_file, [*overrides, trained[-1]])
    with pytest.raises(ConfigError, match=r"sigmoid .* is for multi-label models"):
        ppcls.export(single, sigmoid=True)
    config = load_config(config_file, [*trained, "Infer.PostProcess.threshold={warn: 0.4}"])
    with pytest.raises(ConfigError, match=r"no class is called 'warn'; did you mean 'warm'"):
        ppcls.export(config)
    with pytest.raises(ConfigError, match=r"multi_label .* is for models without one"):
        ppcls.Predictor(bundle, multi_label=True)
    assert main(["eval", "--bundle", str(bundle), "-c", str(config_file), "-o", *overrides]) == 2
    assert "is a multi-label model, but" in capsys.readouterr().err
    text = labelled.read_text(encoding="utf-8").replace("0,1,0", "1")
    labelled.write_text(text, encoding="utf-8")
    assert main(["eval", "--bundle", str(bundle), "--data", str(labelled)]) == 1
    assert "labelled.txt:7: 1 labels for 3 classes" in capsys.readouterr().err
    alone = ppcls.export(single, check=False).folder
    assert main(["predict", str(alone), str(labelled)]) == 1
    assert "label 1,0,1 in its list, but the model gives an image one class" in (
        capsys.readouterr().err
    )


def edited(bundle: Path, **changes) -> None:
    path = bundle / "inference.yml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["Output"] |= changes.pop("Output", {})
    path.write_text(yaml.safe_dump(spec | changes, allow_unicode=True), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Output": {"softmax": True}}, "Output: softmax does not fit task multi_label"),
        (
            {"Output": {"task": "single_label"}},
            "PostProcess has MultiLabelThreshOutput; Output.task single_label needs Topk",
        ),
        ({"Output": {"task": "detection"}}, "Output.task: expected 'single_label' or 'multi_la"),
        (
            {"PostProcess": {"MultiLabelThreshOutput": {"threshold": 1.5, "label_list": NAMES}}},
            "threshold: expected less than 1, not 1.5",
        ),
        (
            {"PostProcess": {"MultiLabelThreshOutput": {"threshold": [0.5], "label_list": NAMES}}},
            "MultiLabelThreshOutput.threshold has 1 entries, but the graph outputs 3 classes",
        ),
        (
            {"PostProcess": {"MultiLabelThreshOutput": {"threshold": 0.5, "label_list": ["a"]}}},
            "MultiLabelThreshOutput.label_list has 1 names, but the graph outputs 3 classes",
        ),
        ({"PostProcess": {}}, "PostProcess has no entry; Output.task multi_label needs Multi"),
    ],
)
def test_a_bundle_that_contradicts_itself(bundle: Path, changes: dict, message: str) -> None:
    edited(bundle, **changes)
    with pytest.raises(BundleError) as error:
        read_bundle(bundle)
    assert message in str(error.value)


def test_a_bundle_without_a_task_is_single_label(
    config_file: Path, ready: list[str], images: list[str]
) -> None:
    folder = ppcls.export(load_config(config_file, ready), check=False).folder
    path = folder / "inference.yml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["Output"] = {"classes": 3, "softmax": False, "features": False}
    path.write_text(yaml.safe_dump(spec, allow_unicode=True), encoding="utf-8")
    with ppcls.Predictor(folder, topk=3) as one:
        assert not one.multi_label
        for result in one.predict(images):
            assert sum(result.scores) == pytest.approx(1)


def test_the_parity_check_of_sigmoids() -> None:
    logits = np.random.default_rng(0).normal(-2, 6, (20, 30))
    names = [str(i) for i in range(20)]

    def difference(found: np.ndarray) -> float:
        closest = np.clip(logits, *logit_range(found.astype(np.float32)))
        return require_same(logits, closest, names, "graph")

    assert difference(sigmoid(logits)) < 1e-6
    assert difference(sigmoid(logits) + 1.7e-7 * np.sign(logits)) < 1e-6
    for wrong in (
        sigmoid(logits + 0.01),
        sigmoid(logits) + 1e-3 * (np.abs(logits) < 1),
        logits,
        sigmoid(logits) + np.where(np.eye(20, 30), np.nan, 0),
        np.where(logits > 8, 0.5, sigmoid(logits)),
    ):
        with pytest.raises(RunError, match="gives different logits"):
            difference(wrong)


PUBLISHED = """\
Global: {image_shape: [3, 32, 32], use_multilabel: True}
Arch: {name: SqueezeNet1_1, class_num: 33}
Loss:
  Train:
    - MultiLabelLoss:
        weight: 1.0
  Eval:
    - MultiLabelLoss:
        weight: 1.0
Infer:
  infer_imgs: ./deploy/images/0517_2715693311.jpg
  batch_size: 10
  transforms:
    - DecodeImage: {to_rgb: True, channel_first: False}
    - ResizeImage: {size: 32}
    - NormalizeImage: {order: ''}
    - ToCHWImage:
  PostProcess:
"""


@pytest.mark.parametrize(
    ("post", "threshold"),
    [
        ("    name: MultiLabelTopk\n    topk: 5\n", 0.5),
        ("    name: MultiLabelThreshOutput\n    threshold: 0.4\n    delimiter: null\n", 0.4),
        ("    threshold: {1: 0.4, default: 0.6}\n", {"1": 0.4, "default": 0.6}),
        ("    topk: 5\n", 0.5),
    ],
)
def test_published_files(tmp_path: Path, post: str, threshold) -> None:
    path = tmp_path / "published.yaml"
    path.write_text(PUBLISHED + post, encoding="utf-8")
    config = load_config(path)
    assert config.multi_label
    assert config.Infer.PostProcess.threshold == threshold


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "Infer.PostProcess.name=Topk",
            "PostProcess.name: Topk does not fit a multi-label model (MultiLabelLoss); MultiLabelT",
        ),
        ("Infer.PostProcess.threshold=[0.5]", "threshold: has 1 entries; Arch.class_num is 3"),
        ("Infer.PostProcess.threshold=1.0", "threshold: expected less than 1, not 1.0"),
        ("Infer.PostProcess.threshold={warm: 0}", "threshold.warm: expected greater than 0, not 0"),
        ("Metric.Eval.0.HammingDistance.threshold=[0.5]", "threshold: has 1 entries; Arch.class_"),
        ("Loss.Eval=[{CELoss: }]", "Loss.Eval: CELoss is for images with one class each"),
    ],
)
def test_configurations_that_do_not_fit(
    config_file: Path, several: list[str], override: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(config_file, [*several, override])
    assert message in str(error.value)


def test_a_distillation_on_several_labels_needs_losses_of_pairs(
    config_file: Path, several: list[str]
) -> None:
    models = "[{A: {name: SqueezeNet1_1}}, {B: {name: SqueezeNet1_1}}]"
    arch = f"Arch={{name: DistillationModel, class_num: 3, models: {models}, infer_model_name: A}}"
    asked = [*several, arch]
    pairs = "{model_name_pairs: [[A, B]], act: sigmoid}"
    config = load_config(config_file, [*asked, f"Loss.Train=[{{DistillationDMLLoss: {pairs}}}]"])
    assert config.deployed().multi_label
    with pytest.raises(ConfigError, match=r"MultiLabelDataset; losses of model_name_pairs fit"):
        load_config(
            config_file, [*asked, "Loss.Train=[{DistillationGTCELoss: {model_names: [A]}}]"]
        )


def test_losses_decide_without_data(tmp_path: Path) -> None:
    path = tmp_path / "published.yaml"
    path.write_text(PUBLISHED + "    topk: 5\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"CELoss is for images with one class each, but Loss\.T"):
        load_config(path, ["Loss={Train: [{MultiLabelLoss: }]}"])
    with pytest.raises(ConfigError, match="MultiLabelThreshOutput does not fit a single-label mod"):
        load_config(path, ["Loss={}", "Infer.PostProcess.threshold=0.4"])


def test_a_model_of_another_tool(bundle: Path, images: list[str], tmp_path: Path) -> None:
    (bundle / "inference.yml").unlink()
    transforms = [{"ResizeImage": {"size": 32}}, {"NormalizeImage": {}}]
    facts = {"labels": NAMES, "transforms": transforms, "multi_label": True}
    with ppcls.Predictor(bundle, softmax=False, threshold={"warm": 0.0}, **facts) as one:
        assert all(1 in result.class_ids for result in one.predict(images))
    with (
        ppcls.Predictor(bundle, **facts) as one,
        pytest.raises(RunError, match="does not end with a sigmoid; use `ppcls predict --logits`"),
    ):
        list(one.predict(images))
