"""Architectures agree with the published models and can be built in any number."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import paddle
import pytest
from conftest import ROOT, smallest_of_each_family
from parity import fingerprint, probe_logits

import ppcls
from ppcls.errors import ConfigError
from ppcls.models.base import ImageClassifier
from ppcls.models.weights import save_weights

FACTS = json.loads((ROOT / "tests/facts/architectures.json").read_text())
NAMES = ppcls.list_models()
# The smallest of each family is put through everything; those in QUICK compute with images of the
# full size. Of the others the quick run sees keys, shapes and counts: they are the same code at
# other widths and depths.
SMALLEST = set(smallest_of_each_family())
QUICK = SMALLEST | {"HarDNet68_ds", "SqueezeNet1_0"}


def measured_macs(model: ImageClassifier, size: int) -> int:
    """Return the multiply-accumulates of an image, extrapolated from two small ones.

    They are a part for each pixel and one that no pixel changes (linear layers after a pooling),
    exactly so where every layer halves a multiple of 32 or leaves it.
    """
    small, large = (ppcls.profile(model, side).macs for side in (32, 64))
    a_block, rest = divmod(large - small, 3)
    assert rest == 0
    return small + a_block * ((size // 32) ** 2 - 1)


def assert_agrees(name: str, *, runs: bool) -> None:
    """Build an architecture once, and hold it to its card and to the published model.

    Args:
        name: the architecture; a few have no recorded facts, and a card to be held to.
        runs: compute with images of the full size, and compare the logits.
    """
    card = ppcls.model_card(name)
    model = ppcls.create_model(name, class_num=1000)
    model.eval()
    size = card.input_size
    trainable = sum(int(p.size) for p in model.parameters() if not p.stop_gradient)
    macs = ppcls.profile(model, size).macs if runs else measured_macs(model, size)
    assert (card.params, card.macs) == (trainable, macs)
    facts = FACTS.get(name)
    if facts is None:
        return
    assert fingerprint(model) == facts["state_dict_sha256"]
    assert (size, trainable, macs) == (
        facts["input_size"],
        facts["trainable_params"],
        facts["macs"],
    )
    if not runs:
        return
    probe = facts["probe"]
    logits = probe_logits(model, size, probe["salt"])
    for row, expected, std in zip(logits, probe["logits_first8"], probe["std"], strict=True):
        # Another processor's order of sums moves them by 1e-14, and SENet154_vd's by 5e-9.
        np.testing.assert_allclose(row[:8], expected, atol=1e-6 * std, rtol=0)


@pytest.mark.usefixtures("zero_weights")
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.large) if n in QUICK else n for n in NAMES]
)
def test_agrees_with_its_card_and_the_published_model(name: str) -> None:
    assert_agrees(name, runs=name in QUICK)


@pytest.mark.slow
@pytest.mark.usefixtures("zero_weights")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in QUICK])
def test_a_large_one_answers_as_the_published_model_does(name: str) -> None:
    assert_agrees(name, runs=True)


def test_the_reference_script_agrees(shared: Path) -> None:
    # Two are enough to see that the script and the recorded facts ask for the same.
    check = runpy.run_path(str(shared / "reference/check_parity.py"))["check"]
    assert [check(name) for name in ("HarDNet39_ds", "SqueezeNet1_1")] == [None, None]


def ungraded(model: ImageClassifier) -> set[str]:
    return {k for k, p in model.named_parameters() if not p.stop_gradient and p.grad is None}


@pytest.mark.large
@pytest.mark.usefixtures("zero_weights")
@pytest.mark.parametrize(
    "name", [n if n in SMALLEST else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_any_channels_and_classes_two_of_a_kind_and_feature_maps(name: str) -> None:
    gray = ppcls.create_model(name, class_num=7, in_channels=1)
    backbone = ppcls.create_model(name, class_num=7, in_channels=4, features_only=True)
    info = list(backbone.feature_info)
    assert set(gray.state_dict()) == set(backbone.state_dict())

    logits = gray(paddle.randn([1, 1, 64, 96]))
    assert logits.shape == [1, 7]
    assert gray.state_dict()[f"{gray.head}.bias"].shape == [7]
    assert gray.state_dict()[f"{gray.first_conv}.weight"].shape[1] == 1
    logits.sum().backward()
    assert not ungraded(gray)

    maps = backbone(paddle.randn([1, 4, 64, 96]))
    assert [m.shape[1] for m in maps] == [said.channels for said in info]
    # Where poolings have no padding, maps miss a pixel at the border; what 32 more pixels of
    # input add is exact.
    assert [m.shape[3] - m.shape[2] for m in maps] == [32 // said.stride for said in info]
    logits = backbone.forward_head(maps[-1])
    assert logits.shape == [1, 7]
    # The other model's backward pass has left nothing here.
    assert len(ungraded(backbone)) == sum(not p.stop_gradient for p in backbone.parameters())
    logits.sum().backward()
    assert not ungraded(backbone)


def test_a_backbone_loads_the_weights_of_a_classifier(tmp_path: Path) -> None:
    classifier = ppcls.create_model("SqueezeNet1_1", class_num=3)
    save_weights(classifier, tmp_path / "w.pdparams")
    backbone = ppcls.create_model(
        "SqueezeNet1_1", class_num=3, pretrained=tmp_path / "w.pdparams", features_only=True
    )
    image = paddle.randn([1, 3, 64, 64])
    expected = classifier.forward_features(image)
    for found, map_ in zip(backbone(image), expected, strict=True):
        assert (found == map_).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "HardNet39_ds"}, "did you mean 'HarDNet39_ds'?"),
        ({"name": "transformer"}, "`ppcls list` prints the names"),
        ({"name": "HarDNet39_ds", "class_num": 0}, "class_num must be a positive integer, not 0"),
        ({"name": "HarDNet39_ds", "dropout": 1.5}, r"dropout must be a number in \[0, 1\), not 1"),
        (
            {"name": "HarDNet39_ds", "dropout": "no"},
            r"dropout must be a number in \[0, 1\), not 'n",
        ),
        (
            {"name": "HarDNet39_ds", "clas_num": 3},
            "no option 'clas_num'; did you mean 'class_num'?",
        ),
        ({"name": ["HarDNet39_ds"]}, r"no architecture is called \['HarDNet39_ds'\]"),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ppcls.create_model(**options)


def test_list_models_takes_a_pattern_in_any_case() -> None:
    assert "HarDNet39_ds" in ppcls.list_models("hardnet*")
    assert ppcls.list_models("nothing*") == []
    assert sorted(NAMES) == NAMES


def test_profile_counts_any_model() -> None:
    layers = paddle.nn
    model = layers.Sequential(
        layers.Conv2D(2, 6, 3, padding=1, groups=2),  # 8x8 pixels, 6 filters of 1x3x3
        layers.BatchNorm2D(6),
        layers.Conv2DTranspose(6, 4, 2, stride=2),  # 8x8 inputs, each to 4 outputs of 2x2, 6 times
        layers.Flatten(),
        layers.Linear(4 * 16 * 16, 10),
    )
    model.train()
    cost = ppcls.profile(model, (2, 8, 8))
    assert cost.macs == 64 * 6 * 9 + 64 * 6 * 4 * 4 + 1024 * 10
    assert cost.params == (6 * 9 + 6) + 12 + (6 * 4 * 4 + 4) + (1024 * 10 + 10)
    assert model.training
    assert ppcls.profile(model.to(dtype="float64"), (2, 8, 8)) == cost
    for wrong, message in (
        (("HarDNet68",), r"takes a model, not 'HarDNet68': profile\(create_model\('HarDNet68'\)\)"),
        (("HardNet68",), "did you mean 'HarDNet68'?"),
        ((3,), "takes a model, not 3"),
        ((model, "224"), r"a side or \(C, H, W\), not '224'"),
        ((model, (8, 8)), r"a side or \(C, H, W\), not \(8, 8\)"),
    ):
        with pytest.raises(ConfigError, match=message):
            ppcls.profile(*wrong)
