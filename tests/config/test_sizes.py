"""Which order a size has, and sizes that are transposed or differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppcls.config import load_config
from ppcls.errors import ConfigError

RECIPE = "quick_start/HarDNet39_ds"


def sized(part: str, name: str, size: str) -> str:
    ops = f"[{{DecodeImage: }}, {{{name}: {{size: {size}}}}}]"
    return f"DataLoader.{part}.dataset.transform_ops={ops}"


@pytest.mark.parametrize(
    ("stated", "train", "evaluated", "message"),
    [
        (
            "Global.image_shape=[3, 40, 120]",
            "[120, 40]",
            "[40, 120]",
            "Eval.dataset.transform_ops.1.ResizeImage.size: [40, 120] is width 40 and height 120, "
            "but Global.image_shape has height 40 and width 120; a transform has the width first: "
            "size: [120, 40]",
        ),
        (
            "Global.image_size=[40, 120]",
            "[40, 120]",
            "null",
            "Train.dataset.transform_ops.1.RandCropImage.size: [40, 120] is width 40",
        ),
        (
            "Global.image_shape=null",
            "[120, 40]",
            "[40, 120]",
            "ResizeImage.size is [40, 120]: Train and Eval need the same sides",
        ),
    ],
)
def test_a_transposed_size_is_named(stated: str, train: str, evaluated: str, message: str) -> None:
    overrides = ["Global.image_size=null", "Infer.transforms=null", stated]
    overrides += [sized("Train", "RandCropImage", train), sized("Eval", "ResizeImage", evaluated)]
    with pytest.raises(ConfigError) as raised:
        load_config(RECIPE, overrides)
    assert message in str(raised.value)


def test_the_advice_is_right() -> None:
    overrides = ["Global.image_size=null", "Global.image_shape=[3, 40, 120]"]
    overrides += [sized("Train", "RandCropImage", "[120, 40]")]
    overrides += [sized("Eval", "ResizeImage", "[120, 40]"), "Infer.transforms=null"]
    assert load_config(RECIPE, overrides).input_shape() == [3, 40, 120]


def test_training_and_evaluating_at_different_sizes_is_said_once(
    config_file: Path, ready: list[str], capsys: pytest.CaptureFixture
) -> None:
    from ppcls.cli import main

    larger = sized("Train", "RandCropImage", "48")
    assert main(["train", "-c", str(config_file), "--check", "-o", *ready, larger]) == 0
    said = capsys.readouterr().out
    assert said.count("training sees images of height 48 and width 48, the evaluation of heig") == 1
