"""Architectures agree with the published models and can be built in any number."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib

import numpy as np
import paddle
import pytest
from conftest import ROOT

import ppcls
from ppcls.errors import ConfigError

FACTS = json.loads((ROOT / "tests/facts/architectures.json").read_text())
NAMES = ppcls.list_models()


def fill(name: str, shape: list[int], salt: int) -> np.ndarray:
    """Values for a parameter by its name: the recipe that the recorded logits were made with."""
    rng = np.random.RandomState((zlib.crc32(name.encode()) + salt) & 0x7FFFFFFF)
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "_variance" or (leaf == "weight" and len(shape) == 1):
        return rng.uniform(0.5, 1.5, shape).astype("float32")
    if len(shape) == 1:
        return rng.normal(0, 0.1, shape).astype("float32")
    gain, fan_in = (2.0, np.prod(shape[1:])) if len(shape) == 4 else (1.0, shape[0])
    return rng.normal(0, np.sqrt(gain / fan_in), shape).astype("float32")


@pytest.mark.parametrize("name", FACTS)
def test_agrees_with_the_published_model(name: str) -> None:
    facts = FACTS[name]
    model = ppcls.create_model(name, class_num=1000)
    model.eval()
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert shapes == facts["state_dict"]
    salt = facts["probe"]["salt"]
    model.set_state_dict({k: paddle.to_tensor(fill(k, s, salt)) for k, s in shapes.items()})
    size = facts["input_size"]
    image = np.random.RandomState(7 + salt).normal(0, 1, (2, 3, size, size)).astype("float32")
    with paddle.no_grad():
        logits = model(paddle.to_tensor(image)).numpy()
    for row, expected, std in zip(
        logits, facts["probe"]["logits_first8"], facts["probe"]["std"], strict=True
    ):
        np.testing.assert_allclose(row[:8], expected, atol=1e-3 * std, rtol=0)


@pytest.mark.parametrize("name", FACTS)
def test_card_states_the_parameters(name: str) -> None:
    parameters = ppcls.create_model(name).parameters()
    trainable = sum(int(p.size) for p in parameters if not p.stop_gradient)
    assert ppcls.model_card(name).params == trainable == FACTS[name]["trainable_params"]


def test_the_reference_script_agrees(shared) -> None:
    run = subprocess.run(
        [sys.executable, shared / "reference/check_parity.py", *FACTS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("name", FACTS)
def test_other_inputs_classes_and_a_second_model(name: str) -> None:
    first, second = (ppcls.create_model(name, class_num=7, in_channels=4) for _ in range(2))
    assert set(first.state_dict()) == set(second.state_dict())
    image = paddle.randn([2, 4, 64, 96])
    out = second(image)
    assert out.shape == [2, 7]
    out.sum().backward()
    assert all(p.grad is not None for p in second.parameters() if not p.stop_gradient)
    assert all(p.grad is None for p in first.parameters())


@pytest.mark.parametrize("name", FACTS)
def test_feature_maps_are_as_described(name: str) -> None:
    model = ppcls.create_model(name, class_num=3)
    model.eval()
    maps = model.forward_features(paddle.randn([1, 3, 128, 128]))
    assert len(maps) == len(model.feature_info)
    for found, said in zip(maps, model.feature_info, strict=True):
        assert found.shape[1] == said.channels
        # SqueezeNet's pooling has no padding, so its maps may be a pixel short.
        assert 128 // said.stride - found.shape[2] in (0, 1)


def test_head_is_the_layer_with_the_classes() -> None:
    for name in FACTS:
        model = ppcls.create_model(name, class_num=13)
        state = model.state_dict()
        assert state[f"{model.head}.bias"].shape == [13]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "HardNet39_ds"}, "did you mean 'HarDNet39_ds'?"),
        ({"name": "transformer"}, "`ppcls list` prints the names"),
        ({"name": "HarDNet39_ds", "class_num": 0}, "class_num must be a positive integer, not 0"),
        ({"name": "HarDNet39_ds", "dropout": 1.5}, r"dropout must be in \[0, 1\), not 1.5"),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ppcls.create_model(**options)


def test_list_models_takes_a_pattern_in_any_case() -> None:
    assert "HarDNet39_ds" in ppcls.list_models("hardnet*")
    assert ppcls.list_models("nothing*") == []
    assert sorted(NAMES) == NAMES
