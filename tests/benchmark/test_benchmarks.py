"""The benchmarks run, and measure what they say; how fast is for a quiet machine to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


def measured(*command: str | Path) -> str:
    ran = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / command[0], *command[1:]],
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_trainer_beside_a_bare_loop() -> None:
    options = ("--only", "SqueezeNet1_1_32", "--seconds", "0.1", "--repeats", "1", "--json")
    (row,) = json.loads(measured("train_step.py", *options))
    assert (row["model"], row["size"], row["batch"]) == ("SqueezeNet1_1", 32, 64)
    assert row["trainer / bare"] == pytest.approx(row["trainer"] / row["bare"])
    bound = 1 / (1 / row["loader"] + 1 / row["bare"])
    assert row["with loader / bound"] == pytest.approx(row["with loader"] / bound)


def test_the_transforms_beside_a_bare_decoder(tmp_path: Path) -> None:
    options = ("--repeats", "1", "--epochs", "1", "--threads", "2")
    printed = measured("data.py", *options, "--json", tmp_path / "data.json")
    found = json.loads((tmp_path / "data.json").read_text())
    assert found["images"] == 64
    assert "| cv2.imdecode | " in printed
    assert set(found["loader"]) == {"2"}


def test_the_predictor_beside_its_parts(bundle: Path, colours: Path) -> None:
    options = ("--images", colours, "--rounds", "1", "--backend", "paddle")
    found = json.loads(measured("predict.py", bundle, *options))
    assert found["backend"].startswith("paddle")
    latency = found["latency_batch_1"]
    assert latency["ratio"] == pytest.approx(latency["predictor_ms"] / latency["parts_ms"])
