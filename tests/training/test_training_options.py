"""What the options of training do: averages, accumulation, freezing, memory, early ends."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import paddle
import pytest

import ppcls
from ppcls.config import load_config
from ppcls.config.schema import AMPOptions
from ppcls.errors import ConfigError, RunError
from ppcls.evaluation.evaluate import evaluate
from ppcls.models.weight_files import read_pickle, read_weights
from ppcls.training.freeze import checkpoint_gradients, freeze, set_training, statistics
from ppcls.training.precision import Precision, auto_cast_arguments, scaler_arguments
from ppcls.training.train import TrainResult, train


@pytest.fixture
def run(config_file: Path, overrides: list[str], tmp_path: Path):
    """Train the small configuration with more overrides, in a folder of its own each time."""
    runs = iter(range(100))

    def call(*more: str) -> TrainResult:
        folder = f"Global.output_dir={tmp_path / str(next(runs))}"
        return train(load_config(config_file, [*overrides, folder, *more]))

    return call


def records(folder: Path, kind: str) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [r for r in map(json.loads, lines) if r["kind"] == kind]


@pytest.mark.training
def test_accumulated_gradients_are_those_of_the_large_batch(run) -> None:
    same = ["Arch.dropout=0.0", "Global.save_interval=2", "Global.print_batch_step=1"]
    batch = "DataLoader.Train.sampler.batch_size"
    large = run(*same, f"{batch}=12").folder
    # 27 images: three updates of 12, 12 and 3, the last from a single batch.
    small = run(*same, f"{batch}=4", "Global.update_freq=3").folder
    expected, found = (read_weights(folder / "epoch_2") for folder in (large, small))
    start = ppcls.create_model("SqueezeNet1_1", class_num=3).state_dict()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-5)
        assert not np.array_equal(value, start[key].numpy())
    for ours, theirs in zip(records(small, "train"), records(large, "train"), strict=True):
        assert ours["step"] == theirs["step"]
        assert ours["lr"] == theirs["lr"]
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)


@pytest.mark.training
def test_the_average_of_the_weights_is_what_is_evaluated_and_deployed(
    run, config_file: Path, overrides: list[str]
) -> None:
    decay = 0.5
    asked = ["Global.epochs=1", "Global.save_steps=1", "Global.print_batch_step=1"]
    result = run(*asked, f"EMA.decay={decay}", "DataLoader.Train.sampler.batch_size=14")
    raw = run(*asked, "DataLoader.Train.sampler.batch_size=14")
    assert (read_weights(raw.best.parent / "latest")).keys()
    deployed, kept = (read_pickle(result.folder / f"latest.{s}") for s in ("pdparams", "pdema"))
    without = read_weights(raw.folder / "latest")
    assert all(np.array_equal(kept[k], without[k]) for k in kept)
    assert read_pickle(result.folder / "latest.pdstates")["pdparams"] == "averaged"
    assert read_pickle(raw.folder / "latest.pdstates")["pdparams"] == "raw"
    # Two updates: the average is a quarter of the start, a quarter of the first and half of the
    # second; so it lies between, and is not the last weights.
    assert any(not np.allclose(deployed[k], kept[k], atol=1e-6) for k in kept)
    found = evaluate(
        load_config(config_file, [*overrides, f"Global.pretrained_model={result.best}"])
    )
    assert found.means["loss"] == pytest.approx(records(result.folder, "eval")[0]["loss"], rel=1e-6)


def test_an_average_follows_its_formula() -> None:
    from ppcls.training.ema import WeightAverage

    model = paddle.nn.Sequential(paddle.nn.Linear(2, 2), paddle.nn.BatchNorm1D(2))
    average = WeightAverage(model, 0.9)
    expected = {k: v.numpy().astype("float64") for k, v in model.state_dict().items()}
    for step in range(3):
        for value in model.state_dict().values():
            value.set_value(paddle.full(value.shape, float(step), value.dtype))
        average.update()
        expected = {k: 0.9 * v + 0.1 * step for k, v in expected.items()}
    for key, value in average.average.items():
        # Kept in float32; sums near zero have no relative precision.
        np.testing.assert_allclose(value.numpy(), expected[key], rtol=0, atol=1e-5)
    with average.applied():
        inside = {k: v.numpy() for k, v in model.state_dict().items()}
    assert all(np.array_equal(inside[k], v.numpy()) for k, v in average.average.items())
    assert all((v.numpy() == 2.0).all() for v in model.state_dict().values())


@pytest.mark.parametrize(
    ("options", "cast", "scaler"),
    [
        (
            {},
            {"level": "O1", "dtype": "float16", "use_promote": True},
            {"init_loss_scaling": 1.0, "use_dynamic_loss_scaling": False},
        ),
        (
            {"level": "O2", "dtype": "bfloat16", "use_promote": False},
            {"level": "O2", "dtype": "bfloat16", "use_promote": False},
            {"init_loss_scaling": 1.0, "use_dynamic_loss_scaling": False},
        ),
        (
            {"scale_loss": 128.0, "use_dynamic_loss_scaling": True},
            {"level": "O1", "dtype": "float16", "use_promote": True},
            {"init_loss_scaling": 128.0, "use_dynamic_loss_scaling": True},
        ),
    ],
)
def test_mixed_precision_options_are_paddles(options: dict, cast: dict, scaler: dict) -> None:
    asked = AMPOptions(**options)
    assert auto_cast_arguments(asked) == cast
    assert scaler_arguments(asked) == scaler
    # Paddle takes them.
    paddle.amp.auto_cast(**cast)
    with pytest.warns(UserWarning, match="can only be enabled on"):
        paddle.amp.GradScaler(**scaler)


def test_the_state_of_a_scaler_comes_back() -> None:
    def scaler() -> paddle.amp.GradScaler:
        # On a CPU the constructor switches a scaler off; its state is Paddle's own all the same.
        made = object.__new__(paddle.amp.GradScaler)
        made._enable, made._scale = True, paddle.to_tensor([1.0])
        return made

    kept = {
        "scale": np.array([512.0], "float32"),
        "incr_ratio": 2.0,
        "decr_ratio": 0.5,
        "incr_every_n_steps": 2000,
        "decr_every_n_nan_or_inf": 1,
        "incr_count": 17,
        "decr_count": 0,
        "use_dynamic_loss_scaling": True,
    }
    first, second = Precision(None, "cpu"), Precision(None, "cpu")
    first.scaler, second.scaler = scaler(), scaler()
    first.scaler.load_state_dict(kept)
    plain = first.state_dict()
    assert plain["scale"] == 512.0
    second.load_state_dict(json.loads(json.dumps(plain)))
    assert second.scaler.state_dict() == kept


@pytest.mark.training
def test_what_a_cpu_cannot_do_is_said(run) -> None:
    with pytest.raises(RunError, match=r"Arch\.use_sync_bn is on, but Paddle has no SyncBatchNorm"):
        run("Arch.use_sync_bn=true", "Global.device=cpu")


@pytest.mark.training
def test_mixed_precision_is_float32_on_a_cpu(run) -> None:
    once = ("Global.epochs=1", "Global.device=cpu")
    asked = run("AMP={level: O2, scale_loss: 128.0}", *once)
    log = (asked.folder / "train.log").read_text()
    assert log.count("has no effect on a CPU: training in float32") == 1
    weights = read_weights(asked.folder / "latest")
    plain = read_weights(run("AMP.use_amp=false", *once).folder / "latest")
    assert all(np.array_equal(weights[key], plain[key]) for key in plain)


@pytest.mark.training
def test_frozen_parameters_and_statistics_stay(run) -> None:
    model = ["Arch.name=HarDNet39_ds", "Global.epochs=1", "Global.seed=3"]
    result = run(
        *model, 'Arch.freeze=["base.[0-4].*"]', "Optimizer.regularizer={name: L2, coeff: 1.}"
    )
    after = read_weights(result.folder / "latest")
    log = (result.folder / "train.log").read_text()
    assert "frozen by 'base.[0-4].*'" in log
    assert "frozen batch normalisations keep their statistics" in log
    still = {k for k in after if k.split(".")[:2] in [["base", str(i)] for i in range(5)]}
    untouched = {k for k in still if k.endswith("._mean")}
    assert untouched
    assert all((after[k] == 0).all() for k in untouched)
    assert all((after[k] == 1).all() for k in still if k.endswith("norm.weight"))
    assert any((after[k] != 0).any() for k in after if k.endswith("._mean") and k not in still)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("base.0", r"'base\.0' matches no parameter; did you mean 'base\.0\.\*'\?"),
        ("base.0.conv.weigth", r"did you mean 'base\.0\.conv\.weight'\?"),
        ("features.*", r"'features\.\*' matches no parameter; names begin with base"),
        ("*", r"leaves nothing to train"),
    ],
)
def test_a_pattern_that_freezes_nothing_or_everything_is_named(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        freeze(ppcls.create_model("HarDNet39_ds", class_num=2), [pattern])


@pytest.mark.parametrize("name", ["HarDNet39_ds", "DenseNet121", "DPN68"])
def test_gradient_checkpointing_changes_no_result(name: str) -> None:
    images = paddle.to_tensor(
        np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype("float32")
    )
    states = []
    for checkpointed in (False, True):
        paddle.seed(1)
        model = ppcls.create_model(name, class_num=4)
        if checkpointed:
            checkpoint_gradients(model)
        set_training(model)
        paddle.seed(2)
        model(images).square().mean().backward()
        gradients = {k: p.grad.numpy() for k, p in model.named_parameters() if not p.stop_gradient}
        states.append((gradients, [s.numpy() for s in statistics(model)]))
    (gradients, expected), (found, moved) = states
    assert gradients.keys() == found.keys()
    for key, value in gradients.items():
        scale = np.abs(value).max() + 1e-12
        np.testing.assert_allclose(found[key] / scale, value / scale, atol=1e-5)
    for value, other in zip(expected, moved, strict=True):
        np.testing.assert_array_equal(other, value)
    with pytest.raises(ConfigError, match="AlexNet does not support it"):
        checkpoint_gradients(ppcls.create_model("AlexNet", class_num=2))


@pytest.mark.training
def test_a_static_graph_trains_the_same(run) -> None:
    same = ["Arch.name=HarDNet39_ds", "Arch.dropout=0.0", "Global.epochs=1"]
    eager, static = (run(*same, f"Global.to_static={on}").folder for on in ("false", "true"))
    for a, b in zip(records(eager, "train"), records(static, "train"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
    expected, found = (read_weights(folder / "latest") for folder in (eager, static))
    assert expected.keys() == found.keys()


@pytest.mark.training
def test_a_run_that_no_longer_improves_ends_early(run) -> None:
    asked = (
        "Global.epochs=9",
        "Global.early_stop_patience=2",
        "Global.start_eval_epoch=2",
        "Optimizer.lr.learning_rate=1e-30",
    )
    first = run(*asked)
    assert not first.was_finished
    again = ("Global.checkpoints=auto", f"Global.output_dir={first.folder.parent}")
    result = run(*asked, *again)
    assert result.was_finished
    assert [r["epoch"] for r in records(result.folder, "eval")] == [2, 3, 4]
    assert (
        "stopped early: no better top1 in 2 evaluations"
        in (result.folder / "train.log").read_text()
    )


@pytest.mark.training
def test_the_peak_memory_is_reported(run) -> None:
    folder = run("Global.epochs=1", "Global.print_mem_info=true").folder
    assert "max_mem_resident: " in (folder / "train.log").read_text()
    assert all(r["max_mem_resident"] > 50 for r in records(folder, "train"))


@pytest.mark.training
def test_only_the_last_checkpoints_of_epochs_are_kept(run) -> None:
    folder = run("Global.epochs=4", "Global.keep_last=2").folder
    kept = {p.name for p in folder.glob("*.pdparams")}
    assert kept == {f"{n}.pdparams" for n in ("epoch_3", "epoch_4", "latest", "best_model")}
    assert not list(folder.glob("epoch_[12]*"))
    # One state under several names is stored once.
    assert (folder / "latest.pdparams").samefile(folder / "epoch_4.pdparams")


@pytest.mark.training
def test_a_bad_batch_is_named_with_its_own_step(run) -> None:
    # A learning rate that blows the weights up: the first step is sound, a later one is not.
    asked = [
        "Arch.name=HarDNet39_ds",
        "Optimizer.lr.learning_rate=1e30",
        "Global.print_batch_step=1000",
        "Global.epochs=4",
    ]
    with pytest.raises(
        RunError, match=r"the loss is nan in epoch 1, step [123] \(learning"
    ) as error:
        run(*asked)
    assert ".PNG, " in str(error.value)
    assert "and 5 more (seen at step 3)" in str(error.value)


@pytest.mark.training
def test_bad_batches_are_skipped_up_to_a_limit(run, config_file, overrides, tmp_path) -> None:
    asked = ["Loss.Train=[{CELoss: {weight: 1e39}}]", "Global.on_nan=skip"]
    with pytest.raises(RunError, match=r"more than the 2 that Global\.nan_limit lets a run skip"):
        run(*asked, "Global.nan_limit=2")
    result = run(
        *asked,
        "Global.nan_limit=4",
        "Global.epochs=1",
        "Global.print_batch_step=99",
        "Global.eval_during_train=false",
    )
    assert math.isfinite(
        np.concatenate([v.ravel() for v in read_weights(result.best).values()]).sum()
    )
