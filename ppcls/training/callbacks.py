"""What a training run calls while it runs: its own logs, early stopping, and callbacks of users."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from ppcls.checkpoints.files import Checkpoint
from ppcls.evaluation.results import Evaluation
from ppcls.training.timer import Speed, Update

if TYPE_CHECKING:
    from ppcls.training.train import Trainer

__all__ = ["Callback", "Callbacks", "EarlyStopping", "Report", "TrainStep"]


class Report(NamedTuple):
    """What the run has come to in its epoch so far.

    Attributes:
        means: of the metrics, and the `loss` last.
        speed: since the last report.
        memory: the most that was used so far, in MiB, by what kind of memory it is.
    """

    means: dict[str, float]
    speed: Speed
    memory: dict[str, float]


class TrainStep(NamedTuple):
    """One update of the weights.

    Attributes:
        epoch: from 1.
        step: of the epoch, from 0.
        lr: the learning rate.
        update: the batches that it was made of.
        report: every `Global.print_batch_step` steps and at the end of an epoch; None otherwise,
            since it waits for the device.
    """

    epoch: int
    step: int
    lr: float
    update: Update
    report: Report | None


class Callback:
    """What a run calls, of a class of yours that overrides what it needs.

    Every process of a run calls its own; `trainer.is_first` says which one writes files. What a
    callback raises ends the run. `trainer.end(reason)` ends it after the epoch, evaluated and
    saved.
    """

    def on_start(self, trainer: Trainer) -> None:
        """Begin: the model, the optimizer and the data are ready (`trainer.state`)."""

    def on_step(self, trainer: Trainer, step: TrainStep) -> None:
        """After an update; the gradients are still there."""

    def on_eval(self, trainer: Trainer, epoch: int, found: Evaluation) -> None:
        """After the evaluation at the end of an epoch; `trainer.state.progress` has the best."""

    def on_save(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        """After a checkpoint was written, in the first process."""

    def on_note(self, trainer: Trainer, text: str) -> None:
        """Take a line for the user, such as what weights the run begins with."""

    def on_end(self, trainer: Trainer, error: BaseException | None) -> None:
        """Close what was opened: the run is over, by this error or signal if there is one."""


class Callbacks(Callback):
    """Several callbacks, called in turn; all of them end, whatever one of them raises."""

    def __init__(self, callbacks: list[Callback]):
        self.callbacks = callbacks

    def on_start(self, trainer: Trainer) -> None:
        """Call each of them."""
        for callback in self.callbacks:
            callback.on_start(trainer)

    def on_step(self, trainer: Trainer, step: TrainStep) -> None:
        """Call each of them."""
        for callback in self.callbacks:
            callback.on_step(trainer, step)

    def on_eval(self, trainer: Trainer, epoch: int, found: Evaluation) -> None:
        """Call each of them."""
        for callback in self.callbacks:
            callback.on_eval(trainer, epoch, found)

    def on_save(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        """Call each of them."""
        for callback in self.callbacks:
            callback.on_save(trainer, checkpoint)

    def on_note(self, trainer: Trainer, text: str) -> None:
        """Call each of them."""
        for callback in self.callbacks:
            callback.on_note(trainer, text)

    def on_end(self, trainer: Trainer, error: BaseException | None) -> None:
        """Call each of them, the last one first."""
        with ExitStack() as stack:
            for callback in self.callbacks:
                stack.callback(callback.on_end, trainer, error)


class EarlyStopping(Callback):
    """End a run after so many evaluations without a better one (`Global.early_stop_patience`)."""

    def __init__(self, patience: int):
        self.patience = patience

    def on_start(self, trainer: Trainer) -> None:
        """End at once a run that had ended so."""
        self._look(trainer)

    def on_eval(self, trainer: Trainer, epoch: int, found: Evaluation) -> None:
        """Count the evaluations since the best one."""
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        stale = trainer.state.progress.stale
        if stale >= self.patience:
            trainer.end(
                f"stopped early: no better {trainer.metric} in {stale} evaluations "
                "(Global.early_stop_patience)"
            )
