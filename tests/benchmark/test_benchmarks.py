"""The benchmarks run, and measure what they say; how fast is for a quiet machine to say."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import cv2
import pytest
from conftest import ROOT


@pytest.fixture
def measured(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    """Run a benchmark in this process; return what it printed."""
    threads = cv2.getNumThreads()

    def run(script: str, *arguments: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        main = runpy.run_path(str(ROOT / "benchmarks" / script))["main"]
        assert not main()
        return capsys.readouterr().out

    yield run
    cv2.setNumThreads(threads)


@pytest.mark.training
def test_the_trainer_beside_a_bare_loop(measured) -> None:
    options = ("--only", "SqueezeNet1_1_32", "--seconds", "0", "--repeats", "1", "--json")
    (row,) = json.loads(measured("train_step.py", *options))
    assert (row["model"], row["size"], row["batch"]) == ("SqueezeNet1_1", 32, 64)
    assert row["trainer / bare"] == pytest.approx(row["trainer"] / row["bare"])
    bound = 1 / (1 / row["loader"] + 1 / row["bare"])
    assert row["with loader / bound"] == pytest.approx(row["with loader"] / bound)


def test_the_transforms_beside_a_bare_decoder(measured, tmp_path: Path) -> None:
    options = ("--repeats", "1", "--epochs", "1", "--threads", "2")
    printed = measured("data.py", *options, "--json", tmp_path / "data.json")
    found = json.loads((tmp_path / "data.json").read_text())
    assert found["images"] == 64
    assert "| cv2.imdecode | " in printed
    assert set(found["loader"]) == {"2"}


def test_the_predictor_beside_its_parts(measured, bundle: Path, colours: Path) -> None:
    options = ("--images", colours, "--rounds", "1", "--backend", "paddle")
    found = json.loads(measured("predict.py", bundle, *options))
    assert found["backend"].startswith("paddle")
    latency = found["latency_batch_1"]
    assert latency["ratio"] == pytest.approx(latency["predictor_ms"] / latency["parts_ms"])


@pytest.mark.process
@pytest.mark.slow
def test_fit_beside_training(
    measured, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ppcls

    monkeypatch.setenv("PPCLS_HOME", str(tmp_path))
    weights = tmp_path / "weights.npz"
    ppcls.save_weights(ppcls.create_model("SqueezeNet1_1"), weights)
    options = ("--weights", weights, "--size", "32", "--epochs", "1", "--only", "fit", "train")
    rows = json.loads(measured("fit.py", colours, *options, "--json"))
    names = ["fit, empty cache", "fit again", "train with the recipe", "fit, one image more"]
    assert [row["row"] for row in rows] == names
    assert rows[0]["accuracy"] == rows[1]["accuracy"] > 0.5
    assert rows[2]["ratio"] == pytest.approx(rows[2]["seconds"] / rows[0]["seconds"])
