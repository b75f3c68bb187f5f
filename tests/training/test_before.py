"""What an earlier version has written is read: runs, checkpoints, exported models."""

from __future__ import annotations

import json
import shutil
import tarfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from facts.make_before import pictures

import ppcls
from ppcls.cli import main

MEASURED = ("batch_cost", "reader_cost", "ips", "eta", "max_mem_resident")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that the version of a778be5 has left; see facts/README.md."""
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(ROOT / "tests/facts/before.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def expected(before: Path) -> dict:
    return json.loads((before / "expected.json").read_text())


def records(lines: str) -> list[dict]:
    return [json.loads(line) for line in lines.splitlines()]


def assert_same(found: list[dict], expected: list[dict]) -> None:
    """Compare what training and evaluations gave, but for the time that they took."""
    for ours, theirs in zip(found, expected, strict=True):
        ours, theirs = ({k: v for k, v in r.items() if k not in MEASURED} for r in (ours, theirs))
        # Three biases are all that is not zero: nothing amplifies the rounding of float32.
        assert ours == {
            k: pytest.approx(v, rel=5e-6) if isinstance(v, float) else v for k, v in theirs.items()
        }


@pytest.mark.training
def test_an_interrupted_run_goes_on_to_the_same_end(
    before: Path, expected: dict, colours: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "output/SqueezeNet1_1"
    shutil.copytree(before / "run/SqueezeNet1_1", folder)
    begun = records((folder / "metrics.jsonl").read_text())
    assert (begun[-1]["epoch"], begun[-1]["step"]) == (2, 1)
    command = ["train", "-c", str(folder / "config.yaml"), "--data", str(colours)]
    own = [f"Global.output_dir={folder.parent}", "Global.checkpoints=auto"]
    assert main([*command, "-o", *own]) == 0
    assert_same(records((folder / "metrics.jsonl").read_text()), expected["whole"])
    assert "resuming" in (folder / "train.log").read_text()
    assert len(records((folder / "runs.jsonl").read_text())) == 2
    # What is finished is finished.
    assert main([*command, "-o", *own]) == 0
    assert_same(records((folder / "metrics.jsonl").read_text()), expected["whole"])


@pytest.mark.parametrize("name", ["best_model", "epoch_1"])
def test_a_checkpoint_evaluates_with_the_configuration_beside_it(
    before: Path, expected: dict, colours: Path, capsys: pytest.CaptureFixture, name: str
) -> None:
    folder = before / "run/SqueezeNet1_1"
    command = ["eval", "-c", str(folder / "config.yaml"), "--data", str(colours), "--json"]
    assert main([*command, "-o", f"Global.pretrained_model={folder / name}"]) == 0
    found = json.loads(capsys.readouterr().out)
    (then,) = (r for r in expected["whole"] if r["kind"] == "eval" and r["epoch"] == 1)
    assert found["images"] == 9
    assert found["top1"] == pytest.approx(then["top1"])
    assert found["loss"] == pytest.approx(then["loss"], rel=5e-6)


@pytest.mark.parametrize(
    ("kind", "backend"), [("json", "paddle"), ("onnx", "onnxruntime"), ("pdmodel", "paddle")]
)
def test_an_exported_model_answers_as_it_did(
    before: Path, expected: dict, kind: str, backend: str
) -> None:
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    with ppcls.Predictor(before / kind, topk=3, backend=backend, device="cpu") as predictor:
        logits = [result.logits for result in predictor.predict_logits(pictures())]
        answers = list(predictor.predict(pictures()))
    # Rounding moves them by 1e-6 of their spread. The third picture is resized, where another
    # build of OpenCV may round a pixel otherwise.
    rooms = (1e-4, 1e-4, 1e-2)
    for ours, answer, then, room in zip(
        logits, answers, expected["answers"][kind], rooms, strict=True
    ):
        np.testing.assert_allclose(ours, then["logits"], rtol=0, atol=room * np.std(then["logits"]))
        assert (answer.class_ids, answer.label_names) == (then["class_ids"], then["label_names"])
        np.testing.assert_allclose(answer.scores, then["scores"], rtol=0, atol=room)
