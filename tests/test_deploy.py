"""What is exported answers as the model does, and says so when it cannot be trusted."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml

import ppcls
from ppcls.arch.weights import save_weights
from ppcls.bundle import read_bundle
from ppcls.config import load_config
from ppcls.data import image
from ppcls.errors import BundleError, ConfigError, DataError, RunError
from ppcls.exporter.parity import check_parity
from ppcls.inference.backends.eager import EagerBackend
from ppcls.inference.inputs import find_inputs
from ppcls.inference.predictor import Classifier, Predictor
from ppcls.plots import Tile, prediction_grid


@pytest.fixture
def ready(config_file: Path, overrides: list[str], tmp_path: Path) -> list[str]:
    """The overrides with weights of a model that is random, but one and the same."""
    paddle.seed(0)
    save_weights(ppcls.create_model("SqueezeNet1_1", class_num=3), tmp_path / "w.pdparams")
    return [*overrides, f"Global.pretrained_model={tmp_path / 'w'}"]


@pytest.fixture
def bundle(config_file: Path, ready: list[str]) -> Path:
    return ppcls.export(load_config(config_file, ready)).folder


@pytest.mark.parametrize("name", ["SqueezeNet1_1", "HarDNet39_ds"])
def test_the_exported_model_answers_as_the_model(
    name: str, config_file: Path, overrides: list[str], tmp_path: Path, colours: Path
) -> None:
    save_weights(ppcls.create_model(name, class_num=3), tmp_path / "w.pdparams")
    more = [f"Arch.name={name}", f"Global.pretrained_model={tmp_path / 'w'}"]
    config = load_config(config_file, [*overrides, *more])
    result = ppcls.export(config)
    assert sorted(p.name for p in result.folder.iterdir()) == [
        "inference.json",
        "inference.pdiparams",
        "inference.yml",
    ]
    assert result.spec.parity.images == 9
    assert result.spec.parity.source == str(colours / "val_list.txt")
    assert result.spec.parity.max_difference < 1e-4
    assert result.spec.PostProcess.Topk.label_list == ["bleu pâle", "green", "red"]
    assert result.spec.Input.shape == [-1, 3, 32, 32]

    sources = [one.path for one in find_inputs([colours])]
    model = ppcls.create_model(name, class_num=3, pretrained=tmp_path / "w.pdparams")
    eager = Classifier(
        EagerBackend(model), result.spec.pipeline(), result.spec.PostProcess.Topk.label_list, topk=2
    )
    for batch_size in (1, 7):
        exported = Predictor(result.folder, batch_size=batch_size)
        for a, b in zip(exported.predict(sources), eager.predict(sources), strict=True):
            assert (a.source, a.class_ids, a.label_names) == (b.source, b.class_ids, b.label_names)
            np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)


def test_bad_images_are_answered_in_their_place(
    bundle: Path, tmp_path: Path, colours: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"not an image")
    good = colours / "red" / "image 03.PNG"
    sources = [good, tmp_path / "broken.png", good.read_bytes(), image.read(good), "gone.png", good]
    results = list(Predictor(bundle, batch_size=2).predict(sources))
    assert [r.error is None for r in results] == [True, False, True, True, False, True]
    assert "broken.png: not an image" in results[1].error
    assert "gone.png: cannot read the image: No such file" in results[4].error
    assert results[1].class_ids == []
    assert results[0].class_ids == results[2].class_ids == results[3].class_ids
    np.testing.assert_allclose(results[0].scores, results[3].scores, atol=1e-6)
    assert json.loads(json.dumps(results[0].to_dict())).keys() == {
        "filename",
        "class_ids",
        "scores",
        "label_names",
        "error",
    }


def test_what_is_no_image_is_an_answer_with_an_error(bundle: Path) -> None:
    sources = [3, None, np.zeros((4, 4), np.uint8)]
    errors = [result.error for result in Predictor(bundle).predict(sources)]
    assert errors[0] == "expected a path, bytes or an array, not int"
    assert errors[1] == "expected a path, bytes or an array, not NoneType"
    assert "must be uint8 (H, W, 3)" in errors[2]


def test_an_export_does_not_replace_other_files(
    config_file: Path, ready: list[str], tmp_path
) -> None:
    (tmp_path / "inference").mkdir()
    (tmp_path / "inference/inference.json").write_text("mine")
    with pytest.raises(RunError, match=r"inference\.json: there already, and no export of ppcls"):
        ppcls.export(load_config(config_file, ready))
    assert [p.name for p in (tmp_path / "inference").iterdir()] == ["inference.json"]


def test_names_with_dollars_and_chinese_are_drawn(tmp_path: Path) -> None:
    tiles = [Tile(np.zeros((4, 4, 3), np.uint8), text) for text in ("a^$b^$c", "$_$", "猫 0.9")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prediction_grid(tiles, tmp_path / "grid.png")
    assert (tmp_path / "grid.png").stat().st_size > 1000


def test_scores_are_probabilities_best_first(bundle: Path, colours: Path) -> None:
    good = colours / "red" / "image 03.PNG"
    (result,) = Predictor(bundle, topk=99).predict([good])
    assert sorted(result.class_ids) == [0, 1, 2]
    assert sum(result.scores) == pytest.approx(1)
    assert result.scores == sorted(result.scores, reverse=True)


def test_two_models_live_in_one_process(
    config_file: Path, ready: list[str], tmp_path: Path
) -> None:
    first = ppcls.export(load_config(config_file, ready)).folder
    config = load_config(
        config_file,
        [
            *ready,
            "Arch.name=HarDNet39_ds",
            "Global.pretrained_model=null",
            f"Global.save_inference_dir={tmp_path / 'second'}",
        ],
    )
    second = ppcls.export(config, allow_random=True).folder
    predictors = [Predictor(first), Predictor(second), Predictor(first)]
    picture = np.zeros((32, 32, 3), np.uint8)
    a, b, c = (next(p.predict([picture])).scores for p in predictors)
    assert a == c != b


def test_export_again_replaces_and_a_failure_replaces_nothing(
    config_file: Path, ready: list[str], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.read_bytes() for p in bundle.iterdir()}
    with pytest.raises(ConfigError, match=r"image_shape is \[3, 64, 64\], and Infer.transforms"):
        ppcls.export(load_config(config_file, [*ready, "Global.image_shape=[3, 64, 64]"]))
    monkeypatch.setattr("ppcls.exporter.parity.TOLERANCE", 0.0)
    with pytest.raises(RunError, match="so nothing is exported: largest difference"):
        ppcls.export(load_config(config_file, ready))
    assert {p.name: p.read_bytes() for p in bundle.iterdir()} == before
    monkeypatch.undo()
    ppcls.export(load_config(config_file, [*ready, "Infer.PostProcess.topk=1"]))
    assert read_bundle(bundle).PostProcess.Topk.topk == 1


def test_the_parity_check_sees_another_model_and_names_the_worst_image() -> None:
    def check(found: list) -> float:
        expected = np.array([[1, 2], [3, 4]], "float32")
        return check_parity(expected, np.array(found, "float32"), ["a", "b"])

    assert check([[1, 2], [3, 4]]) == 0
    with pytest.raises(RunError, match="on b; another best class for 1 of 2 images"):
        check([[1, 2], [4, 3]])
    with pytest.raises(RunError, match="on a; another best class for 0 of 2"):
        check([[1, 2.001], [3, 4]])
    with pytest.raises(RunError, match="nothing is exported"):
        check([[1, np.nan], [3, 4]])
    constant = np.zeros((2, 2), "float32")
    assert check_parity(constant, constant, ["a", "b"]) == 0


def test_an_export_is_compared_with_the_model_before_it_was_traced(
    config_file: Path, ready: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that computes something else when it is traced must not pass."""
    from ppcls.arch.squeezenet import SqueezeNet

    forward_head = SqueezeNet.forward_head

    def other_when_traced(self: SqueezeNet, x: paddle.Tensor) -> paddle.Tensor:
        logits = forward_head(self, x)
        return logits if paddle.in_dynamic_mode() else logits + 1

    monkeypatch.setattr(SqueezeNet, "forward_head", other_when_traced)
    with pytest.raises(RunError, match="answers differently from the model"):
        ppcls.export(load_config(config_file, ready))


def test_without_evaluation_images_random_ones_are_used_and_recorded(
    config_file: Path, ready: list[str]
) -> None:
    result = ppcls.export(load_config(config_file, [*ready, "DataLoader={}"]))
    assert result.spec.parity.source == "random"


def _change(name: str, change):
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return apply


def _edit(edit):
    def apply(folder: Path) -> None:
        spec = yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8"))
        edit(spec)
        (folder / "inference.yml").write_text(yaml.safe_dump(spec), encoding="utf-8")

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "inference.yml").unlink(), "not an exported model: no inference.yml"),
        (lambda f: (f / "inference.json").unlink(), r"inference\.json: missing"),
        (_change("inference.pdiparams", lambda b: b[:-1] + b"x"), r"pdiparams: changed since"),
        (_change("inference.yml", lambda b: b"\xff" + b), r"inference\.yml: cannot be read"),
        (_change("inference.yml", lambda b: b"[1"), r"inference\.yml: cannot be read"),
        (_change("inference.yml", lambda b: b""), "no schema_version: written by"),
        (_edit(lambda s: s.update(schema_version=3)), "it needs a newer ppcls"),
        (
            _edit(lambda s: s["PostProcess"]["Topk"]["label_list"].pop()),
            "label_list has 2 names, and the graph answers with 3 classes",
        ),
        (_edit(lambda s: s.update(schema_version=1)), "schema_version is 1; this .*export the"),
        (_edit(lambda s: s.pop("PreProcess")), "PreProcess: Field required; export the model"),
    ],
)
def test_a_damaged_export_is_named(bundle: Path, damage, message: str) -> None:
    damage(bundle)
    with pytest.raises(BundleError, match=message):
        Predictor(bundle)


def test_inputs_are_files_folders_patterns_and_lists(colours: Path, tmp_path: Path) -> None:
    everything = find_inputs([colours])
    assert len(everything) == 36
    assert [i.path for i in find_inputs([colours / "*" / "image 01.PNG"])] == [
        colours / name / "image 01.PNG" for name in ("bleu pâle", "green", "red")
    ]
    listed = find_inputs([colours / "val_list.txt"])
    assert [i.label for i in listed] == [0] * 3 + [1] * 3 + [2] * 3
    assert all(i.path.is_file() for i in listed)
    (colours / "plain.txt").write_text("red/image 01.PNG\n")
    assert find_inputs([colours / "plain.txt"])[0] == (colours / "red" / "image 01.PNG", None)
    (colours / "plain.txt").unlink()
    (tmp_path / "empty").mkdir()
    for wrong, message in (
        (tmp_path / "empty", "no images in this folder"),
        (tmp_path / "gone", "no such file or folder"),
    ):
        with pytest.raises(DataError, match=message):
            find_inputs([wrong])
