"""The callbacks of a training run: logs, early stopping, and users' own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ppcls.checkpoints.files import Checkpoint
from ppcls.errors import ConfigError
from ppcls.evaluation.results import Evaluation
from ppcls.spelling import did_you_mean
from ppcls.training.timer import Speed, Update

if TYPE_CHECKING:
    from ppcls.training.train import Trainer

__all__ = ["Callback", "EarlyStopping", "Report", "TrainStep"]


class Report(NamedTuple):
    """The results of the current epoch so far.

    Attributes:
        means: the means of the metrics, with `loss` last.
        speed: the speed since the last report.
        memory: the peak memory so far, in MiB, by kind of memory.
    """

    means: dict[str, float]
    speed: Speed
    memory: dict[str, float]


class TrainStep(NamedTuple):
    """One update of the weights.

    Attributes:
        epoch: from 1.
        step: the step in the epoch, from 0.
        lr: the learning rate.
        update: the batches of this update.
        report: every `Global.print_batch_step` steps and at the end of an epoch; None otherwise,
            because a report waits for the device.
    """

    epoch: int
    step: int
    lr: float
    update: Update
    report: Report | None


class Callback:
    """The base class of callbacks: derive from it and override the methods you need.

    Every process of a run calls its own callbacks; `trainer.is_first` is true in the one that
    writes files. An exception in a callback ends the run. `trainer.end(reason)` ends the run after
    the current epoch, including its evaluation and checkpoint.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        known = [name for name in vars(Callback) if name.startswith("on_")]
        for name in vars(cls):
            if name.startswith("on_") and name not in known:
                hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
                raise ConfigError(f"{cls.__name__}: no callback is called {name!r}{hint}")

    def on_start(self, trainer: Trainer) -> None:
        """Before the first step; model, optimizer and data are ready (`trainer.state`)."""

    def on_step(self, trainer: Trainer, step: TrainStep) -> None:
        """After an update, before the gradients are cleared."""

    def on_eval(self, trainer: Trainer, epoch: int, found: Evaluation) -> None:
        """After the evaluation of an epoch; `trainer.state.progress` holds the best result."""

    def on_save(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        """After a checkpoint is written; only in the first process."""

    def on_note(self, trainer: Trainer, text: str) -> None:
        """Receive a line for the user, such as the name of the pretrained weights."""

    def on_end(self, trainer: Trainer, error: BaseException | None) -> None:
        """After the run: close files; `error` is the exception or signal that ended it, if any."""


class EarlyStopping(Callback):
    """End a run after `Global.early_stop_patience` evaluations without improvement."""

    def __init__(self, patience: int):
        self.patience = patience

    def on_start(self, trainer: Trainer) -> None:
        """End a resumed run at once if it had already stopped early."""
        self._look(trainer)

    def on_eval(self, trainer: Trainer, epoch: int, found: Evaluation) -> None:
        """Check the number of evaluations since the best one."""
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        stale = trainer.state.progress.stale
        if stale >= self.patience:
            trainer.end(
                f"stopped early: no better {trainer.metric} in {stale} evaluations "
                "(Global.early_stop_patience)"
            )
