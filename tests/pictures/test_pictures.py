"""`ppcls data show`: what training sees, in a picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ppcls.cli import main
from ppcls.config import Config, load_config
from ppcls.data.datasets import ImageDataset
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.pictures.data import sample_rows

CROP = "DataLoader.Train.dataset.transform_ops.1={RandCropImage: {size: 32}}"
ERASE = "DataLoader.Train.dataset.transform_ops+={RandomErasing: {EPSILON: 1, mode: pixel}}"
MIX = "DataLoader.Train.dataset.batch_transform_ops=[{CutmixOperator: {alpha: 1}}]"


@pytest.fixture
def augmented(config_file: Path, overrides: list[str]) -> Config:
    return load_config(config_file, [*overrides, CROP])


def test_rows_are_what_training_sees(augmented: Config) -> None:
    columns, rows = sample_rows(augmented, count=3, epoch=5, epochs=2)
    assert columns == ["as it is read", "epoch 5", "epoch 6"]
    assert [row[0].caption for row in rows] == ["bleu pâle", "green", "red"]
    options = augmented.DataLoader.Train.dataset  # type: ignore[union-attr]
    dataset = ImageDataset(options.read(3), Pipeline(options.transform_ops), augmented.Global.seed)
    for row, index in zip(rows, (0, 13, 26), strict=True):
        assert row[0].image.shape[1] == 30
        for tile, epoch in zip(row[1:], (5, 6), strict=True):
            np.testing.assert_array_equal(tile.image, dataset.load(index, epoch))
    # More than there are: all of them, each once.
    assert len(sample_rows(augmented, count=99, epochs=1)[1]) == 27


def test_mixed_images_carry_mixed_labels(config_file: Path, overrides: list[str]) -> None:
    pytest.importorskip("paddle")
    columns, rows = sample_rows(load_config(config_file, [*overrides, CROP, ERASE, MIX]))
    assert columns[-2:] == ["epoch 1, mixed", "epoch 2, mixed"]
    captions = [tile.caption for row in rows for tile in row[-2:]]
    shares = [[int(line.split("%")[0]) for line in c.splitlines()] for c in captions if "\n" in c]
    assert shares
    assert all(sum(each) == pytest.approx(100, abs=1) for each in shares)


def test_the_command_writes_a_picture(
    config_file: Path, overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "seen.png"
    command = ["data", "show", str(config_file), "--out", str(out), "--count", "2", "-o"]
    assert main([*command, *overrides, CROP]) == 0
    assert "seen.png: images as training sees them, from epoch 1 on" in capsys.readouterr().out
    with Image.open(out) as picture:
        assert picture.width > picture.height > 200
    assert main([*command, *overrides, "DataLoader.Train=null"]) == 2
    assert "needs the section DataLoader.Train" in capsys.readouterr().err


@pytest.mark.process
def test_paddle_is_needed_for_mixing_alone(
    config_file: Path, overrides: list[str], tmp_path: Path
) -> None:
    def show(*more: str) -> subprocess.CompletedProcess[str]:
        code = (
            "import sys; sys.modules['paddle'] = None; from ppcls.cli import main; "
            "raise SystemExit(main(sys.argv[1:]))"
        )
        out = str(tmp_path / "seen.png")
        return subprocess.run(
            [sys.executable, "-c", code, "data", "show", str(config_file), "--out", out,
             "-o", *overrides, *more],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert show().returncode == 0
    without = show(MIX)
    assert without.returncode == 1
    assert "PaddlePaddle is not installed" in without.stderr
