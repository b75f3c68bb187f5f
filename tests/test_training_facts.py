"""Models start and train as the published ones do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from conftest import ROOT
from recipes import fill_model, training_batch

import ppcls
from ppcls.losses.base import weighted_sum
from ppcls.losses.classification import CELoss
from ppcls.optim.build import build_optimizer
from ppcls.optim.options import Constant, Momentum, Regularizer

FACTS = json.loads((ROOT / "tests/facts/training.json").read_text())
INITIALISED = (
    "AlexNet",
    "DPN68",
    "DarkNet53",
    "DenseNet121",
    "HRNet_W18_C",
    "HarDNet39_ds",
    "HarDNet68",
    "SENet154_vd",
    "SE_HRNet_W18_C",
    "SqueezeNet1_1",
)


@pytest.mark.parametrize("name", FACTS)
def test_four_steps_give_the_published_losses(name: str) -> None:
    model = ppcls.create_model(name, class_num=10)
    fill_model(model)
    options = Momentum(
        name="Momentum",
        lr=Constant(name="Constant", learning_rate=0.01),
        regularizer=Regularizer(name="L2", coeff=1e-4),
    )
    optimizer = build_optimizer(options, model)
    optimizer.set_lr(0.01)
    loss_of = weighted_sum([CELoss()])
    model.train()
    for step, expected in enumerate(FACTS[name]["losses"]):
        images, labels = map(paddle.to_tensor, training_batch(step))
        loss = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        assert loss.item() == pytest.approx(expected, rel=0.01 if step < 2 else 0.05)
    state = model.state_dict()
    for key, (mean, std) in FACTS[name]["after_4_steps_mean_std"].items():
        assert state[key].mean().item() == pytest.approx(mean, abs=0.05 * std)
        assert state[key].numpy().std() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize("name", INITIALISED)
def test_models_start_from_the_published_distributions(name: str, shared: Path) -> None:
    recorded = json.loads((shared / f"reference/training/{name}.json").read_text())
    paddle.seed(0)
    model = ppcls.create_model(name, class_num=recorded["class_num"])
    parameters = {k: p.numpy() for k, p in model.named_parameters() if not p.stop_gradient}
    recorded = recorded["init_mean_std"]
    assert parameters.keys() == {k for k in recorded if not k.endswith(("_mean", "_variance"))}
    for key, value in parameters.items():
        mean, std = recorded[key]
        # Five standard errors of the difference between two samples of this size, and rounding.
        spread = max(std, float(value.std()))
        room = 5 * spread / np.sqrt(value.size) + 2e-6
        assert abs(value.std() - std) < room, key
        assert abs(value.mean() - mean) < np.sqrt(2) * room, key
