"""What a user hands to `train` in Python: callbacks, a model and a loss of their own."""

from __future__ import annotations

import json
from pathlib import Path

import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

import ppcls
from ppcls.config import load_config
from ppcls.errors import ConfigError


class Recorder(ppcls.Callback):
    def __init__(self) -> None:
        self.calls: list = []

    def on_start(self, trainer) -> None:
        self.calls.append("start")

    def on_step(self, trainer, step) -> None:
        assert any(p.grad is not None for p in trainer.state.model.parameters())
        self.calls.append(("step", step.epoch, step.step, step.report is not None))

    def on_eval(self, trainer, epoch, found) -> None:
        self.calls.append(("eval", epoch, found.count))

    def on_save(self, trainer, checkpoint) -> None:
        assert checkpoint.files[".pdparams"].is_file()
        self.calls.append(("save", checkpoint.epoch))

    def on_end(self, trainer, error) -> None:
        self.calls.append(("end", type(error).__name__))


@pytest.mark.training
def test_a_callback_sees_all_of_a_run(config_file: Path, overrides: list[str]) -> None:
    recorder = Recorder()
    config = load_config(config_file, overrides)
    result = ppcls.train(config, callbacks=[recorder])
    epochs = [
        [*[("step", e, i, i in (0, 2, 3)) for i in range(4)], ("eval", e, 9), ("save", e)]
        for e in (1, 2)
    ]
    assert recorder.calls == ["start", *epochs[0], *epochs[1], ("end", "NoneType")]
    assert result.best_metric is not None


@pytest.mark.training
def test_a_callback_can_end_a_run_and_its_errors_do(
    config_file: Path, overrides: list[str]
) -> None:
    class Enough(Recorder):
        def on_eval(self, trainer, epoch, found) -> None:
            trainer.end("that is enough")

    config = load_config(config_file, [*overrides, "Global.epochs=5"])
    folder = ppcls.train(config, callbacks=[Enough()]).folder
    assert json.loads((folder / "latest.json").read_text())["epoch"] == 1
    assert "that is enough" in (folder / "train.log").read_text()

    class Broken(Recorder):
        def on_step(self, trainer, step) -> None:
            raise ZeroDivisionError("mine")

    broken, after = Broken(), Recorder()
    with pytest.raises(ZeroDivisionError, match="mine"):
        ppcls.train(config, overwrite=True, callbacks=[broken, after])
    assert broken.calls == ["start", ("end", "ZeroDivisionError")] == after.calls
    assert "stopped: ZeroDivisionError: mine" in (folder / "train.log").read_text()


class Tiny(nn.Layer):
    def __init__(self, classes: int):
        super().__init__()
        self.conv, self.fc = nn.Conv2D(3, 4, 3, stride=4), nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(F.relu(self.conv(x)).mean([2, 3]))


@pytest.mark.training
def test_a_model_and_a_loss_of_ones_own_train_and_resume(
    config_file: Path, overrides: list[str]
) -> None:
    config = load_config(config_file, overrides)
    losses: list[float] = []

    def squared(logits, labels):
        loss = ((F.softmax(logits) - F.one_hot(labels, 3)) ** 2).sum(1).mean()
        losses.append(float(loss))
        return loss

    paddle.seed(1)
    model = Tiny(3)
    folder = ppcls.train(config, model=model, loss=squared).folder
    assert len(losses) == 8
    assert max(losses) < 2
    saved = ppcls.read_weights(folder / "latest.pdparams")
    assert {k: v.tolist() for k, v in saved.items()} == {
        k: v.numpy().tolist() for k, v in model.state_dict().items()
    }
    more = load_config(config_file, [*overrides, "Global.epochs=3", "Global.checkpoints=auto"])
    ppcls.train(more, model=Tiny(3), loss=squared)
    assert len(losses) == 12


@pytest.mark.training
@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        ("resnet", [], "model must be a paddle.nn.Layer, not 'resnet'"),
        (Tiny(3), ["Arch.pretrained=true"], "trained as it is; leave out Arch.pretrained"),
    ],
)
def test_what_is_no_model_is_named(
    config_file: Path, overrides: list[str], model, more: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ppcls.train(load_config(config_file, [*overrides, *more]), model=model)


def test_what_would_be_ignored_or_fail_late_is_refused(
    config_file: Path, overrides: list[str]
) -> None:
    config = load_config(config_file, overrides)
    with pytest.raises(ConfigError, match="no callback is called 'on_stpe'; did you mean 'on_step"):
        type("Mine", (ppcls.Callback,), {"on_stpe": lambda self: None})
    for arguments, message in (
        ({"callbacks": [Recorder]}, "callbacks are ppcls.Callback objects, not <class"),
        ({"loss": "CELoss"}, "loss is a function of logits and labels, not 'CELoss'"),
        ({"loss": nn.CrossEntropyLoss}, "loss is a function of logits and labels, not <class"),
    ):
        with pytest.raises(ConfigError, match=message):
            ppcls.train(config, **arguments)
    with pytest.raises(ConfigError, match=r"returns \[8, 4\] for 8 images; expected logits \[8, 3"):
        ppcls.train(config, model=Tiny(4))
    with pytest.raises(ConfigError, match="train takes a Config"):
        ppcls.train("quick_start/folder")
    with pytest.raises(ConfigError, match="overrides is a list such as"):
        load_config(config_file, "Global.epochs=3")
