"""How before.tar.xz was made: by the code of a778be5, with this file in its tests/facts.

usage: python -m pytest tests/facts/make_before.py

It leaves the archive beside this file. Weights have few values, so that megabytes of them pack into
kilobytes: those of the run are zero but for the biases of the classes, which alone get gradients;
those of the exported models are -1, 0 and 1 times a constant of each layer.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import CONFIG

import ppcls
from ppcls.cli import main


def pictures() -> list[np.ndarray]:
    """Return the pictures that were asked about, uint8 RGB.

    Two have the size that the network sees; the third, noise, is resized.
    """
    rows, columns = np.mgrid[:32, :32]
    slope = np.stack([rows * 8, columns * 6, (rows + columns) * 3], axis=2)
    board = np.where((rows // 8 + columns // 8)[..., None] % 2, [250, 200, 30], [20, 60, 240])
    noise = np.random.RandomState(3).randint(0, 256, (40, 56, 3))
    return [picture.astype(np.uint8) for picture in (slope, board, noise)]


def few_values(key: str, shape: list[int]) -> np.ndarray:
    """Fill one parameter: one weight of eight is not zero."""
    if len(shape) == 1:
        return np.full(shape, 0.125, "float32")
    rng = np.random.RandomState(zlib.crc32(key.encode()))
    values = rng.choice([-1, 0, 1], shape, p=[1 / 16, 14 / 16, 1 / 16])
    return (values * np.sqrt(16 / np.prod(shape[1:]))).astype("float32")


def test_make_it(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ppcls.engine.train import Trainer

    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG.format(), encoding="utf-8")
    model = ppcls.create_model("SqueezeNet1_1", class_num=3)
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    zeros = {key: np.zeros(shape, "float32") for key, shape in shapes.items()}
    bias = f"{model.head}.bias"
    zeros[bias] = np.array([0.75, 1.0, 0.5], "float32")
    np.savez(tmp_path / "zeros.npz", **zeros)
    few = {key: few_values(key, shape) for key, shape in shapes.items()}
    np.savez(tmp_path / "few.npz", **few)

    def train(output: Path) -> int:
        arguments = [
            *("train", "-c", str(tmp_path / "config.yaml"), "--data", str(colours), "-o"),
            *(f"Global.output_dir={output}", "Global.print_batch_step=1", "EMA.decay=0.5"),
            f"Global.pretrained_model={tmp_path / 'zeros.npz'}",
        ]
        monkeypatch.setattr(sys, "argv", ["ppcls", *arguments])
        return main(arguments)

    assert train(tmp_path / "whole") == 0
    end_step = Trainer.end_step

    def interrupted(self, place, totals, timer) -> None:
        if (place.epoch, place.step) == (2, 1):
            os.kill(os.getpid(), signal.SIGTERM)
        end_step(self, place, totals, timer)

    monkeypatch.setattr(Trainer, "end_step", interrupted)
    assert train(tmp_path / "run") == 143

    answers = {}
    for kind, options in (
        ("json", {}),
        ("onnx", {"onnx": True}),
        ("pdmodel", {"file_format": "pdmodel"}),
    ):
        folder = tmp_path / kind
        asked = [
            f"Global.pretrained_model={tmp_path / 'few.npz'}",
            f"Global.save_inference_dir={folder}",
        ]
        config = ppcls.load_config(tmp_path / "config.yaml", asked, data=colours)
        ppcls.export(config, **options)
        with ppcls.Predictor(folder, topk=3, backend="paddle") as predictor:
            answers[kind] = [
                {
                    "logits": result.logits.tolist(),
                    "class_ids": answer.class_ids,
                    "scores": answer.scores,
                    "label_names": answer.label_names,
                }
                for result, answer in zip(
                    predictor.predict_logits(pictures()), predictor.predict(pictures()), strict=True
                )
            ]
    lines = (tmp_path / "whole/SqueezeNet1_1/metrics.jsonl").read_text().splitlines()
    whole = [json.loads(line) for line in lines]
    (tmp_path / "expected.json").write_text(json.dumps({"whole": whole, "answers": answers}))
    with tarfile.open(Path(__file__).with_name("before.tar.xz"), "w:xz", preset=9) as archive:
        for name in ("run/SqueezeNet1_1", "json", "onnx", "pdmodel", "expected.json"):
            archive.add(tmp_path / name, name)
