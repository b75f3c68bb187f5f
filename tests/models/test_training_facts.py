"""Models start and train as the published ones do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from conftest import ROOT
from parity import fill_model, training_batch

import ppcls
from ppcls.losses.base import weighted_sum
from ppcls.losses.classification import CELoss
from ppcls.optim.optimizers import Momentum, Regularizer
from ppcls.optim.schedules import Constant

FACTS = json.loads((ROOT / "tests/facts/training.json").read_text())
QUICK = {"DPN68", "DenseNet121", "HarDNet39_ds", "SqueezeNet1_1"}
# How far the four losses and the state after them may be off, relatively. Rounding is 1e-16, and
# every step amplifies it. Weights moved by 1e-15 of themselves, more than another order of sums
# does, move what eight of the models give by 4e-10 at most; what SENet154_vd gives by 2e-13, 1e-11,
# 2e-9, 2e-6 and 3e-5. A tenth of the weight decay moves the last losses by 2e-6 at least, a
# momentum of 0.89 by 2e-4.
ROOM = {"SENet154_vd": [1e-7, 1e-7, 1e-6, 1e-3, 1e-2]}
USUAL_ROOM = [1e-7] * 5
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


@pytest.mark.training
@pytest.mark.usefixtures("zero_weights")
@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in FACTS]
)
def test_four_steps_give_the_published_losses(name: str) -> None:
    # The steps were recorded without dropout, which draws other numbers everywhere.
    dropout = None if ppcls.model_card(name).dropout is None else 0.0
    model = ppcls.create_model(name, class_num=10, dropout=dropout)
    model.to(dtype="float64")
    fill_model(model)
    options = Momentum(
        name="Momentum",
        lr=Constant(name="Constant", learning_rate=0.01),
        regularizer=Regularizer(name="L2", coeff=1e-4),
    )
    optimizer = options.build(model)
    optimizer.set_lr(0.01)
    loss_of = weighted_sum([CELoss()])
    model.train()
    rooms = ROOM.get(name, USUAL_ROOM)
    for step, (expected, room) in enumerate(zip(FACTS[name]["losses"], rooms[:4], strict=True)):
        images, labels = training_batch(step)
        logits = model(paddle.to_tensor(images.astype("float64")))
        loss = loss_of(logits, paddle.to_tensor(labels))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        assert loss.dtype == paddle.float64
        assert loss.item() == pytest.approx(expected, rel=room)
    state = model.state_dict()
    for key, (mean, std) in FACTS[name]["after_4_steps_mean_std"].items():
        assert state[key].mean().item() == pytest.approx(mean, abs=rooms[4] * std)
        assert state[key].numpy().std() == pytest.approx(std, rel=rooms[4])


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n == "SENet154_vd" else n for n in INITIALISED],
)
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
