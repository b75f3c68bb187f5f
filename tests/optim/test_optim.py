"""Optimizers, schedules and losses do what their names say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle.optimizer import lr as published
from pydantic import TypeAdapter

from ppcls.config import dump_config, load_config
from ppcls.errors import ConfigError, WeightsError
from ppcls.losses.base import weighted_sum
from ppcls.losses.classification import CELoss, FocalLoss
from ppcls.optim.optimizers import OptimizerOption
from ppcls.optim.schedules import ScheduleOption
from ppcls.training.totals import Totals
from ppcls.training.train import train

EPOCHS, STEPS = 12, 7


def schedule(options: dict, epochs: int = EPOCHS, steps: int = STEPS, watched: tuple = ()):
    return TypeAdapter(ScheduleOption).validate_python(options).curve(epochs, steps, watched)


# Options, and Paddle's scheduler given how many times there are in all and in an epoch: a time is a
# step, with by_epoch an epoch.
SCHEDULES = {
    "Linear": (
        {"learning_rate": 0.3, "end_lr": 0.01, "power": 2.0},
        lambda total, epoch: published.PolynomialDecay(0.3, total, end_lr=0.01, power=2.0),
    ),
    "Cosine": (
        {"learning_rate": 0.3, "eta_min": 0.01},
        lambda total, epoch: published.CosineAnnealingDecay(0.3, total, eta_min=0.01),
    ),
    "Step": (
        {"learning_rate": 0.3, "step_size": 3, "gamma": 0.5},
        lambda total, epoch: published.StepDecay(0.3, 3 * epoch, gamma=0.5),
    ),
    "Piecewise": (
        {"decay_epochs": [2, 5], "values": [0.3, 0.2, 0.01]},
        lambda total, epoch: published.PiecewiseDecay([2 * epoch, 5 * epoch], [0.3, 0.2, 0.01]),
    ),
    "MultiStepDecay": (
        {"learning_rate": 0.3, "milestones": [2, 5, 99], "gamma": 0.5},
        lambda total, epoch: published.MultiStepDecay(0.3, [2 * epoch, 5 * epoch, 99 * epoch], 0.5),
    ),
    "Cyclic": (
        {
            "base_learning_rate": 0.1,
            "max_learning_rate": 0.7,
            "step_size_up": 3,
            "step_size_down": 2,
            "mode": "triangular2",
        },
        lambda total, epoch: published.CyclicLR(0.1, 0.7, 3, 2, mode="triangular2"),
    ),
    "Cyclic exp_range": (
        {
            "base_learning_rate": 0.1,
            "max_learning_rate": 0.7,
            "step_size_up": 4,
            "mode": "exp_range",
            "exp_gamma": 0.9,
            "scale_mode": "iterations",
        },
        lambda total, epoch: published.CyclicLR(0.1, 0.7, 4, mode="exp_range", exp_gamma=0.9),
    ),
    "Cyclic triangular": (
        {"base_learning_rate": 0.1, "max_learning_rate": 0.7, "step_size_up": 4},
        lambda total, epoch: published.CyclicLR(0.1, 0.7, 4),
    ),
    "OneCycle": (
        {"max_learning_rate": 0.7, "divide_factor": 10.0, "end_learning_rate": 0.001},
        lambda total, epoch: published.OneCycleLR(0.7, total, 10.0, 0.001),
    ),
    "OneCycle in three": (
        {
            "max_learning_rate": 0.7,
            "phase_pct": 0.4,
            "anneal_strategy": "linear",
            "three_phase": True,
        },
        lambda total, epoch: published.OneCycleLR(
            0.7, total, 25.0, 1e-10, 0.4, anneal_strategy="linear", three_phase=True
        ),
    ),
}


@pytest.mark.parametrize("by_epoch", [False, True])
@pytest.mark.parametrize("warmup", [0, 2])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_paddles_step_by_step(name: str, warmup: int, by_epoch: bool) -> None:
    options, build = SCHEDULES[name]
    epoch = 1 if by_epoch else STEPS
    expected = build((EPOCHS - warmup) * epoch, epoch)
    found = {"name": name.split()[0], "warmup_epoch": warmup, "by_epoch": by_epoch, **options}
    if warmup:
        found["warmup_start_lr"] = 0.02
        expected = published.LinearWarmup(expected, warmup * epoch, 0.02, expected())
    rate = schedule(found)
    for time in range(EPOCHS * epoch):
        steps = range(time * STEPS, (time + 1) * STEPS) if by_epoch else [time]
        for step in steps:
            assert rate(step) == pytest.approx(expected(), rel=1e-9, abs=1e-12), (name, step)
        expected.step()


def test_a_constant_rate_warms_up_by_steps_or_by_epochs() -> None:
    options = {"name": "Constant", "learning_rate": 0.4, "warmup_epoch": 2}
    by_step, by_epoch = schedule(options), schedule(options | {"by_epoch": True})
    assert [by_step(s) for s in (0, 7, 13, 14, 83)] == pytest.approx([0, 0.2, 13 / 35, 0.4, 0.4])
    assert [by_epoch(s) for s in (0, 6, 7, 13, 14)] == pytest.approx([0, 0, 0.2, 0.2, 0.4])


def test_piecewise_divides_by_ten_without_values() -> None:
    rate = schedule({"name": "Piecewise", "decay_epochs": [1, 3], "learning_rate": 0.1})
    assert [rate(s) for s in (0, 6, 7, 20, 21, 83)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )
    repeated = {"decay_epochs": [1], "values": [0.1, 0.05], "learning_rate": 0.1}
    assert schedule({"name": "Piecewise", **repeated})(7) == 0.05


@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_reduce_on_plateau_is_paddles(mode: str, sign: int, threshold_mode: str) -> None:
    options = {
        "mode": mode,
        "factor": 0.5,
        "patience": 1,
        "threshold": 0.05,
        "threshold_mode": threshold_mode,
        "cooldown": 2,
        "min_lr": 0.02,
    }
    expected = published.ReduceOnPlateau(0.3, **options)
    rng = np.random.default_rng(0)
    watched: tuple[float, ...] = ()
    rates = set()
    for i in range(40):
        options |= {"name": "ReduceOnPlateau", "learning_rate": 0.3}
        assert schedule(options, watched=watched)(5) == pytest.approx(expected(), rel=1e-9)
        rates.add(expected())
        value = 2.0 + sign * (0.6 * 0.9**i + rng.uniform(-0.05, 0.05))
        watched += (value,)
        expected.step(value)
    assert len(rates) > 3
    assert min(rates) == 0.02


@pytest.mark.training
def test_a_resumed_run_reduces_its_rate_where_the_whole_run_did(
    config_file: Path, overrides: list[str], tmp_path: Path
) -> None:
    # Nothing beats the first evaluation by so much: every second one after it reduces the rate.
    lr = (
        "{name: ReduceOnPlateau, learning_rate: 0.001, factor: 0.5, patience: 1, threshold: 0.9, "
        "warmup_epoch: 1}"
    )
    asked = [*overrides, "Global.epochs=6", f"Optimizer={{name: SGD, lr: {lr}}}"]
    whole = train(load_config(config_file, asked)).folder
    part = [f"Global.output_dir={tmp_path / 'part'}", f"Global.checkpoints={whole / 'epoch_4'}"]
    resumed = train(load_config(config_file, [*asked, *part])).folder

    def rates(folder: Path) -> dict[int, float]:
        records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return {r["epoch"]: r["lr"] for r in records if r["kind"] == "train"}

    found = rates(whole)
    assert [found[e] for e in range(2, 7)] == [0.001, 0.001, 0.001, 0.0005, 0.0005]
    assert rates(resumed) == {e: found[e] for e in (5, 6)}
    weights = [(folder / "latest.pdparams").read_bytes() for folder in (whole, resumed)]
    assert weights[0] == weights[1]
    other = f"Optimizer={{name: AdamW, lr: {lr}}}"
    with pytest.raises(WeightsError, match="from a run with the optimizer SGD, not AdamW; to use"):
        train(load_config(config_file, [*asked, *part, other]))


WEIGHT = np.array([[0.5, -1.0], [2.0, 0.25], [-0.125, 1.5]], "float32")
BIAS = np.array([0.3, -0.7], "float32")
INPUT = np.array([[1.0, 2.0, -1.0], [0.5, -0.25, 3.0]], "float32")
# The gradients of the sum of (INPUT @ WEIGHT + BIAS) * SCALE.
SCALE = np.array([[1.0, -2.0], [0.5, 3.0]], "float32")
GRADIENTS = [INPUT.T @ SCALE, SCALE.sum(0)]
RATE = 0.1

OPTIMIZERS = {
    "SGD": {},
    "Momentum": {"momentum": 0.8},
    "Momentum nesterov": {"momentum": 0.8, "use_nesterov": True},
    "Adam": {"beta1": 0.8, "beta2": 0.9, "epsilon": 1e-4},
    "AdamW": {"beta1": 0.8, "beta2": 0.9, "epsilon": 1e-4},
    "RMSProp": {"momentum": 0.8, "rho": 0.7, "epsilon": 1e-4},
}
DECAYS = {
    "none": {},
    "L1": {"regularizer": {"name": "L1", "coeff": 0.3}},
    "L2": {"regularizer": {"name": "L2", "coeff": 0.3}},
    "weight_decay": {"weight_decay": 0.3},
}


def two_steps(name: str, gradients: list[list[np.ndarray]], decay: str, decayed: list[bool]):
    """Take two steps by the definitions, in NumPy, and return the weight and the bias."""
    options, results = OPTIMIZERS[name], []
    for i, start in enumerate((WEIGHT, BIAS)):
        value = start.astype("float64")
        first = second = velocity = 0.0
        for step, step_gradients in enumerate(gradients, start=1):
            gradient = step_gradients[i].astype("float64")
            direct = decay == "weight_decay" and name == "AdamW"
            if decayed[i] and decay != "none" and not direct:
                gradient = gradient + 0.3 * (np.sign(value) if decay == "L1" else value)
            if name.startswith("SGD"):
                change = gradient
            elif name.startswith("Momentum"):
                velocity = 0.8 * velocity + gradient
                change = gradient + 0.8 * velocity if "nesterov" in name else velocity
            elif name.startswith("Adam"):
                first = 0.8 * first + 0.2 * gradient
                second = 0.9 * second + 0.1 * gradient**2
                mean, square = first / (1 - 0.8**step), second / (1 - 0.9**step)
                change = mean / (np.sqrt(square) + options["epsilon"])
                if direct and decayed[i]:
                    value = value * (1 - RATE * 0.3)
            else:
                second = 0.7 * second + 0.3 * gradient**2
                velocity = 0.8 * velocity + gradient / np.sqrt(second + options["epsilon"])
                change = velocity
            value = value - RATE * change
        results.append(value)
    return results


def take_two_steps(options: dict) -> list[np.ndarray]:
    model = paddle.nn.Linear(3, 2)
    model.weight.set_value(WEIGHT)
    model.bias.set_value(BIAS)
    lr = {"name": "Constant", "learning_rate": RATE}
    parsed = TypeAdapter(OptimizerOption).validate_python({"lr": lr} | options)
    optimizer = parsed.build(model)
    optimizer.set_lr(RATE)
    for _ in range(2):
        (model(paddle.to_tensor(INPUT)) * paddle.to_tensor(SCALE)).sum().backward()
        optimizer.step()
        optimizer.clear_grad()
    return [model.weight.numpy(), model.bias.numpy()]


@pytest.mark.parametrize("clip_norm", [None, 1.5])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_step_as_defined(name: str, decay: str, clip_norm: float | None) -> None:
    asked = {"name": name.split()[0], **OPTIMIZERS[name], **DECAYS[decay], "clip_norm": clip_norm}
    if name == "AdamW" and decay == "none":
        asked["weight_decay"] = 0.0
    gradients = GRADIENTS
    if clip_norm:
        norm = np.sqrt(sum((g**2).sum() for g in GRADIENTS))
        assert norm > clip_norm
        gradients = [g * clip_norm / norm for g in GRADIENTS]
    expected = two_steps(name, [gradients, gradients], decay, [True, True])
    for value, reference in zip(take_two_steps(asked), expected, strict=True):
        np.testing.assert_allclose(value, reference, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    "exception", [{"one_dim_param_no_weight_decay": True}, {"no_weight_decay_name": "bia ias"}]
)
@pytest.mark.parametrize("decay", ["L1", "L2", "weight_decay"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_excepted_parameters_do_not_decay(name: str, decay: str, exception: dict) -> None:
    # With a clipped norm that both share: the exception must not clip them apart.
    asked = {"name": name.split()[0], **OPTIMIZERS[name], **DECAYS[decay], **exception}
    norm = np.sqrt(sum((g**2).sum() for g in GRADIENTS))
    gradients = [g * 1.5 / norm for g in GRADIENTS]
    expected = two_steps(name, [gradients, gradients], decay, [True, False])
    for value, reference in zip(take_two_steps(asked | {"clip_norm": 1.5}), expected, strict=True):
        np.testing.assert_allclose(value, reference, rtol=2e-5, atol=2e-6)


def test_a_second_optimizer_does_not_inherit_the_penalties_of_the_first() -> None:
    model = paddle.nn.Linear(3, 2)
    parse = TypeAdapter(OptimizerOption).validate_python
    lr = {"name": "Constant", "learning_rate": RATE}
    parse({"name": "SGD", "lr": lr, "weight_decay": 0.5}).build(model)
    before = model.weight.numpy()
    optimizer = parse({"name": "SGD", "lr": lr}).build(model)
    optimizer.set_lr(RATE)
    (model(paddle.to_tensor(INPUT)) * 0).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(model.weight.numpy(), before)


def test_names_that_no_parameter_has_are_named() -> None:
    asked = {"name": "SGD", "lr": {"name": "Constant", "learning_rate": 0.1}, "weight_decay": 0.1}
    parsed = TypeAdapter(OptimizerOption).validate_python(
        asked | {"no_weight_decay_name": "bias wieght"}
    )
    with pytest.raises(ConfigError, match=r"has 'wieght' in its name; did you mean 'weight'\?"):
        parsed.build(paddle.nn.Linear(3, 2))


def test_frozen_parameters_stay() -> None:
    model = paddle.nn.Linear(3, 2)
    model.bias.stop_gradient = True
    parsed = TypeAdapter(OptimizerOption).validate_python(
        {"name": "AdamW", "lr": {"name": "Constant", "learning_rate": 0.1}}
    )
    assert parsed.weight_decay == 0.01
    before = model.bias.numpy()
    optimizer = parsed.build(model)
    optimizer.set_lr(0.1)
    model(paddle.to_tensor(INPUT)).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(model.bias.numpy(), before)


LR = "{name: Constant, learning_rate: 0.1}"
MISTAKES = [
    # override, what the message must hold
    (
        f"Optimizer={{name: SGD, lr: {LR}, weight_decay: 1, regularizer: {{name: L2, coeff: 1}}}}",
        "Optimizer: set one of regularizer and weight_decay, not both",
    ),
    (
        f"Optimizer={{name: Adam, lr: {LR}, one_dim_param_no_weight_decay: true}}",
        "one_dim_param_no_weight_decay has no effect without decay: set regularizer",
    ),
    (f"Optimizer={{name: SGD, lr: {LR}, momentum: 0.9}}", "Optimizer.momentum: unknown key"),
    (f"Optimizer={{name: SGD, lr: {LR}, clip_norm: 0}}", "clip_norm: expected greater than 0"),
    (f"Optimizer={{name: AdamW, lr: {LR}, weight_decay: null}}", "0 turns weight decay off"),
    (
        "Optimizer.lr={name: Piecewise, decay_epochs: [1], values: [1, 0.1], learning_rate: 0.5}",
        "Optimizer.lr: learning_rate (0.5) contradicts values[0] (1)",
    ),
    ("Optimizer.lr={name: Piecewise, decay_epochs: [1]}", "set values, or a learning_rate"),
    (
        "Optimizer.lr={name: Piecewise, decay_epochs: [3, 1], learning_rate: 0.5}",
        "Optimizer.lr.decay_epochs: must ascend; found [3, 1]",
    ),
    (
        "Optimizer.lr={name: MultiStepDecay, learning_rate: 1, milestones: [5, 5]}",
        "Optimizer.lr.milestones: must ascend; found [5, 5]",
    ),
    (
        "Optimizer.lr={name: Step, learning_rate: 1, step_size: 1, gamma: 1}",
        "Optimizer.lr.gamma: expected less than 1, not 1",
    ),
    (
        "Optimizer.lr={name: Cosine, learning_rate: 0.1, eta_min: 0.2}",
        "Optimizer.lr: eta_min (0.2) must be below learning_rate (0.1)",
    ),
    (
        "Optimizer.lr={name: Constant, learning_rate: 0.1, warmup_epoch: 1, warmup_start_lr: 0.1}",
        "warmup_start_lr (0.1) must be below the schedule's first rate (0.1)",
    ),
    (
        "Optimizer.lr={name: Constant, learning_rate: 0.1, warmup_start_lr: 0.01}",
        "warmup_start_lr (0.01) has no effect without warmup_epoch",
    ),
    (
        "Optimizer.lr={name: Linear, learning_rate: 0.1, warmup_epoch: 2}",
        "Optimizer.lr.warmup_epoch: a warm-up of 2 epochs leaves nothing of Global.epochs (2)",
    ),
    (
        "Optimizer.lr={name: Cyclic, base_learning_rate: 0.1, max_learning_rate: 1, "
        "step_size_up: 2, exp_gamma: 0.9}",
        "exp_gamma needs mode: exp_range, not triangular",
    ),
    (
        "Optimizer.lr={name: Cyclic, base_learning_rate: 0.1, max_learning_rate: 1, "
        "step_size_up: 2, mode: exp_range, scale_mode: epochs}",
        "scale_mode: expected 'cycle' or 'iterations' or None, not 'epochs'",
    ),
    (
        "Optimizer.lr={name: OneCycle, max_learning_rate: 1, phase_pct: 0.5, three_phase: true}",
        "phase_pct (0.5) must be below 0.5 where three_phase is true",
    ),
    (
        "Optimizer.lr={name: OneCycl, max_learning_rate: 1}",
        "'OneCycl' is not one of",
    ),
    (
        "Loss={Train: [{CELoss: {class_weights: [1, 2]}}]}",
        "Loss.Train.0.CELoss.class_weights: has 2 entries; Arch.class_num is 3",
    ),
    (
        "Loss={Eval: [{FocalLoss: {alpha: [1]}}]}",
        "Loss.Eval.0.FocalLoss.alpha: has 1 entries; Arch.class_num is 3",
    ),
    ("Loss={Train: [{FocalLoss: {gama: 1}}]}", "FocalLoss.gama: unknown key; did you mean 'gamma'"),
    ("Loss={Train: [{FocalLoss: {alpha: -1}}]}", "FocalLoss.alpha: expected greater than 0"),
]


@pytest.mark.parametrize(("override", "message"), MISTAKES)
def test_mistakes_are_named(
    config_file: Path, overrides: list[str], override: str, message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(config_file, [*overrides, override])
    assert message in str(raised.value)


def test_a_plateau_needs_evaluations(config_file: Path, overrides: list[str]) -> None:
    asked = ["Optimizer.lr.name=ReduceOnPlateau", "Global.eval_during_train=false"]
    with pytest.raises(ConfigError, match="ReduceOnPlateau watches the evaluations, which"):
        load_config(config_file, [*overrides, *asked])


def test_a_cycle_needs_steps_to_rise() -> None:
    with pytest.raises(ConfigError, match=r"phase_pct: 0\.3 of the 3 steps after the warm-up"):
        schedule({"name": "OneCycle", "max_learning_rate": 0.1}, epochs=1, steps=3)


@pytest.mark.parametrize(
    "optimizer",
    [
        f"{{name: AdamW, lr: {LR}, regularizer: {{name: L1, coeff: 0.1}}}}",
        f"{{name: AdamW, lr: {LR}}}",
        "{name: SGD, lr: {name: Piecewise, decay_epochs: [1], learning_rate: 0.1}}",
        "{name: SGD, lr: {name: OneCycleLR, max_learning_rate: 0.1}}",
    ],
)
def test_what_is_written_with_a_run_is_the_same_optimizer(
    config_file: Path, overrides: list[str], tmp_path: Path, optimizer: str
) -> None:
    more = [f"Optimizer={optimizer}", "Metric.Train=null", "Loss.Train=[{FocalLoss: }]"]
    config = load_config(config_file, [*overrides, *more])
    assert config.Metric.Train == []
    (tmp_path / "dumped.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "dumped.yaml") == config


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


LOGITS = np.random.default_rng(0).normal(0, 2, (5, 4)).astype("float32")
CLASSES = np.array([0, 3, 1, 1, 2])
SOFT = np.random.default_rng(1).dirichlet(np.ones(4), 5).astype("float32")
CLASS_WEIGHTS = [0.5, 2.0, 0.0, 1.0]


def value(terms: list, labels: np.ndarray) -> float:
    labels = labels if labels is CLASSES else labels.astype("float64")
    logits = paddle.to_tensor(LOGITS.astype("float64"))
    return weighted_sum(terms)(logits, paddle.to_tensor(labels)).item()


@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_of_hard_and_soft_targets(soft: bool) -> None:
    labels, targets = (SOFT, SOFT) if soft else (CLASSES, np.eye(4)[CLASSES])
    log_p = log_softmax(LOGITS)
    assert value([CELoss()], labels) == pytest.approx(-(targets * log_p).sum(1).mean(), rel=1e-5)
    smooth = 0.8 * targets + 0.2 / 4
    expected = -(smooth * log_p).sum(1).mean()
    assert value([CELoss(epsilon=0.2)], labels) == pytest.approx(expected, rel=1e-5)
    expected = -(smooth * CLASS_WEIGHTS * log_p).sum(1).mean()
    loss = CELoss(epsilon=0.2, class_weights=CLASS_WEIGHTS)
    assert value([loss], labels) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("soft", [False, True])
def test_focal_loss(soft: bool) -> None:
    labels, targets = (SOFT, SOFT) if soft else (CLASSES, np.eye(4)[CLASSES])
    log_p = log_softmax(LOGITS)
    focal = -targets * (1 - np.exp(log_p)) ** 1.5 * log_p
    found = value([FocalLoss(gamma=1.5, alpha=0.25)], labels)
    assert found == pytest.approx(0.25 * focal.sum(1).mean(), rel=1e-5)
    found = value([FocalLoss(gamma=1.5, alpha=CLASS_WEIGHTS, weight=3.0)], labels)
    assert found == pytest.approx(3 * (focal * CLASS_WEIGHTS).sum(1).mean(), rel=1e-5)
    assert value([FocalLoss(gamma=0.0)], labels) == pytest.approx(value([CELoss()], labels))


def test_focal_loss_of_a_certain_answer_has_finite_gradients() -> None:
    logits = paddle.to_tensor([[200.0, 0.0], [0.0, 200.0]], stop_gradient=False)
    weighted_sum([FocalLoss(gamma=0.5)])(logits, paddle.to_tensor([0, 0])).backward()
    assert np.isfinite(logits.grad.numpy()).all()


def test_totals_without_topk_take_soft_targets() -> None:
    totals = Totals()
    loss = weighted_sum([CELoss()])
    logits, targets = paddle.to_tensor(LOGITS), paddle.to_tensor(SOFT)
    totals.add(loss(logits, targets), logits, targets)
    assert totals.means() == {"loss": pytest.approx(value([CELoss()], SOFT), rel=1e-5)}


@pytest.mark.training
def test_several_losses_train_and_no_metric_is_needed(
    config_file: Path, overrides: list[str]
) -> None:
    more = [
        "Global.epochs=1",
        "Loss.Train=[{CELoss: {weight: 0.5}}, {FocalLoss: {alpha: [1, 2, 1]}}]",
        "Metric={Train: null, Eval: null}",
        "Optimizer={name: RMSProp, lr: {name: OneCycle, max_learning_rate: 0.0001, "
        "phase_pct: 0.5}, clip_norm: 1.0, weight_decay: 1e-4, no_weight_decay_name: bias}",
    ]
    result = train(load_config(config_file, [*overrides, *more]))
    log = (result.folder / "train.log").read_text()
    assert "lr(OneCycle): 0.00000400, loss: " in log
    assert "CELoss" not in log
    assert result.best_metric is not None


@pytest.mark.parametrize("batch", [64, 512])
@pytest.mark.parametrize(
    "options",
    [
        {"name": "Cosine", "learning_rate": 0.1, "eta_min": 0.01},
        {"name": "Piecewise", "decay_epochs": [2], "values": [0.1, 0.02], "warmup_epoch": 1},
        {"name": "OneCycle", "max_learning_rate": 0.1},
        {"name": "Cyclic", "base_learning_rate": 0.1, "max_learning_rate": 0.2, "step_size_up": 3},
        {"name": "Linear", "learning_rate": 0.2, "end_lr": 0.1, "warmup_epoch": 1}
        | {"warmup_start_lr": 0.05},
    ],
)
def test_auto_scale_multiplies_every_rate_of_the_run(options: dict, batch: int) -> None:
    adapter = TypeAdapter(ScheduleOption)
    plain = adapter.validate_python(options | {"reference_batch": 256})
    assert plain.fitted(256) == (plain, None)
    same, warning = plain.fitted(batch)
    assert same is plain
    assert f"the batch size is {batch}, and reference_batch is 256" in warning
    asked = adapter.validate_python(options | {"reference_batch": 256, "auto_scale": True})
    scaled, said = asked.fitted(batch)
    assert said.startswith(f"learning rates times {batch / 256:g}: ")
    before, after = (s.curve(4, 5) for s in (plain, scaled))
    # OneCycle ends at a rate that is as good as none.
    assert [after(i) for i in range(20)] == pytest.approx(
        [before(i) * batch / 256 for i in range(20)], rel=1e-6, abs=1e-9
    )
    assert f"-o Optimizer.lr.auto_scale=true multiplies them by {batch / 256:g}" in warning
