"""The training loop."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from paddle import Tensor, nn

from ppcls import distributed
from ppcls.checkpoints.files import (
    Checkpoint,
    copy_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from ppcls.checkpoints.records import Sums
from ppcls.checkpoints.run_folder import RunFolder, claim_folder, describe_run, locked, run_folder
from ppcls.config import Config
from ppcls.config.schema import GlobalOptions
from ppcls.data.loader import Batch
from ppcls.devices import seed_everything
from ppcls.distributed import on_device
from ppcls.errors import ConfigError, RunError, Stopped
from ppcls.evaluation.chosen_metrics import deciding_metric
from ppcls.evaluation.report import rows_of, write_class_rows
from ppcls.losses.base import LossFunction
from ppcls.metrics.base import parts_of
from ppcls.models.weight_files import read_weights, write_weights
from ppcls.pictures.training import training_curves
from ppcls.printable import counted
from ppcls.spelling import names_options
from ppcls.training.callbacks import Callback, EarlyStopping, Report, TrainStep
from ppcls.training.freeze import set_training, statistics
from ppcls.training.log import METRICS_FILE, MetricsFile, ProgressBar, TextLog, VisualDL
from ppcls.training.nonfinite import LossWatch, Place, UpdateGuard
from ppcls.training.profile import Profile, ProfileOptions
from ppcls.training.provenance import record_start
from ppcls.training.run import Run, build_run, open_run_data, refuse_output_among_images
from ppcls.training.signals import Interrupted, StopRequest
from ppcls.training.timer import StepTimer, Update, peak_memory
from ppcls.training.totals import Totals

__all__ = ["TrainResult", "Trainer", "train"]

STUDENT_FILE = "best_model_student.pdparams"
"""The student of a distillation's `best_model`, under its own parameter names."""


@dataclass(frozen=True)
class TrainResult:
    """The result of a training run.

    Attributes:
        folder: the folder of checkpoints, configuration, logs and curves.
        best: the weights of the best evaluation. They are the latest weights if there was no
            evaluation, or if the best one is in the folder of the run that this one resumed.
        best_metric: the best top-1 accuracy, or another deciding metric (see `deciding_metric`),
            0 to 1; None without an evaluation.
        metric: the name of the deciding metric.
        seconds: the duration of this start of the run, evaluations included.
        was_finished: whether nothing was left to train.
        warnings: what may make the result another one than it seems: images or labels that have
            changed since the run was last saved, predictions that do not depend on the images.
    """

    folder: Path
    best: Path
    best_metric: float | None
    metric: str
    seconds: float
    was_finished: bool = False
    warnings: tuple[str, ...] = ()


class Trainer:
    """One training run: the loop, and the work at the end of its steps and epochs.

    Attributes:
        options: the section `Global`.
        schedule: the learning rate schedule.
        state: model, optimizer, averages and progress (`state.progress`).
        loader: the loader of the training set.
        folder: the run's output folder.
        steps: updates an epoch.
        metric: the name of the metric that decides which weights are best.
        loss_name: the name of a loss with a single term.
        is_first: whether this process writes files.
        warning: of the last evaluation, see `TrainResult`.
    """

    def __init__(
        self,
        run: Run,
        folder: RunFolder,
        stop: StopRequest,
        callbacks: Sequence[Callback] = (),
        profile: Profile | None = None,
    ):
        config, loader = run.config, run.loader
        self.options, self.schedule = config.Global, run.schedule
        self.state, self.objective, self.loader = run.state, run.objective, loader
        self.evaluate, self.folder, self.stop = run.evaluate, folder, stop
        self.callbacks, self.profile = list(callbacks), profile
        self.is_first, self.ended = distributed.rank() == 0, False
        self.metric = deciding_metric(config)
        self.steps = -(-len(loader) // self.options.update_freq)
        self.parameters = [p for p in run.state.model.parameters() if not p.stop_gradient]
        self.counted = parts_of(config.Metric.Train, config.Arch.class_num)
        self.loss_name = type(config.Loss.Train[0]).__name__ if len(config.Loss.Train) == 1 else ""
        samples = loader.dataset.samples
        self.watch = LossWatch(samples)
        self.guard = None
        if self.options.on_nan == "skip":
            self.guard = UpdateGuard(run.state, samples, self.options.nan_limit)
        self.student = config.Arch.student
        self.saved_at = time.monotonic()
        self.warning = ""

    def run(self, notes: Sequence[str] = ()) -> None:
        """Train for the remaining epochs; evaluate and save after each.

        Args:
            notes: lines to show the user first.

        Raises:
            Stopped: a signal stopped the run; it is saved.
            RunError: the loss is not finite, or a checkpoint cannot be written.
        """
        error: BaseException | None = None
        try:
            for callback in self.callbacks:
                callback.on_start(self)
            for text in notes:
                self.note(text)
            self.train_epochs()
        except BaseException as raised:
            error = raised
            raise
        finally:
            with ExitStack() as stack:  # reaches all of them even if one raises
                for callback in self.callbacks:
                    stack.callback(callback.on_end, self, error)

    def train_epochs(self) -> None:
        """Train for the remaining epochs."""
        epochs, progress = self.options.epochs, self.state.progress
        left = (epochs - progress.epoch) * self.steps - progress.step
        timer = StepTimer(left, distributed.world_size())
        while progress.epoch < epochs and not any(distributed.any_rank(self.ended)):
            self.train_epoch(progress.epoch + 1, timer)
            self.end_epoch(progress.epoch + 1)

    def note(self, text: str) -> None:
        """Show the user a line."""
        for callback in self.callbacks:
            callback.on_note(self, text)

    def end(self, reason: str) -> None:
        """End the run after this epoch, including its evaluation and checkpoint."""
        if not self.ended and self.state.progress.epoch < self.options.epochs - 1:
            self.note(reason)
        self.ended = True

    def train_epoch(self, epoch: int, timer: StepTimer) -> None:
        """Train for one epoch (counted from 1), or the rest of it."""
        options, state, progress = self.options, self.state, self.state.progress
        rate = self.schedule.curve(options.epochs, self.steps, progress.watched)
        totals = Totals(self.counted)
        if progress.totals and distributed.rank() == 0:
            totals.load_state_dict(progress.totals.model_dump())
        set_training(state.model)
        batches = self.loader.epoch(epoch, skip=progress.step * options.update_freq)
        for update in timer.updates(batches, options.update_freq):
            place = Place(epoch, progress.step, rate((epoch - 1) * self.steps + progress.step))
            state.optimizer.set_lr(place.lr)
            # Random draws depend only on the place in the run, so a resumed run repeats them.
            entropy = (options.seed, epoch, progress.step, distributed.rank())
            seed_everything(*entropy)
            outputs = [
                self.backward(batch, len(batch.labels) / update.samples, (*entropy, i))
                for i, batch in enumerate(update.batches)
            ]
            distributed.sum_gradients(self.parameters)
            if self.is_sound(place, update, [loss for loss, _, _ in outputs]):
                state.precision.step(state.optimizer)
                if state.average:
                    state.average.update()
                for output in outputs:
                    totals.add(*output)
            report = self.report(totals, timer) if self.is_look(place) else None
            done = TrainStep(*place, update, report)
            for callback in self.callbacks:
                callback.on_step(self, done)
            state.optimizer.clear_grad()
            progress.step += 1
            self.end_step(place, totals)
        if self.loader.unreadable:
            self.note(self.loader.skipped())

    def backward(
        self, batch: Batch, share: float, entropy: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Add a batch's gradients, weighted by its share; return loss, logits and labels.

        The loss is a float32 scalar, the logits are (N, class_num), and the labels are those of
        `Supervised.prepare`. The gradients of all batches of all processes add up to the gradient
        of the mean over all samples.
        """
        with self.state.precision.training():
            loss, logits, labels = self.objective(batch, entropy)
        share /= distributed.world_size()
        self.state.precision.backward(loss if share == 1 else loss * share)
        return loss.detach(), logits.detach(), labels

    def is_sound(self, place: Place, update: Update, losses: list[Tensor]) -> bool:
        """Whether to make an update with these losses, float scalars.

        With `Global.on_nan: stop` a bad loss is found at the next report.
        """
        if self.guard is None:
            for loss, batch in zip(losses, update.batches, strict=True):
                self.watch.add(place, loss, batch.indices)
            return True
        indices = np.concatenate([batch.indices for batch in update.batches])
        reason = self.guard.admits(place, losses, indices)
        if reason:
            self.note(reason)
        return not reason

    def is_look(self, place: Place) -> bool:
        """Whether a step is reported; a report waits for the device."""
        return place.step % self.options.print_batch_step == 0 or place.step == self.steps - 1

    def end_step(self, place: Place, totals: Totals) -> None:
        """Save or stop if due."""
        # Processes stop and save together, so they agree on it at every reported step.
        stop, save = self.stop.signal is not None, self.is_time_to_save()
        if distributed.world_size() > 1:
            stop, save = distributed.any_rank(stop, save) if self.is_look(place) else (False, False)
        profiled = self.profile is not None and self.profile.step(self.loader.sampler.batch_size)
        if stop or save or self.is_step_to_save(place):
            self.state.progress.totals = Sums.model_construct(**totals.state_dict())
            self.save()
        if stop:
            self.raise_stopped()
        if profiled:
            raise Stopped("profiled; the run ends here (-p exit_on_finished=false continues)", 0)

    def is_time_to_save(self) -> bool:
        """Whether `save_minutes` have passed since the last checkpoint."""
        minutes = self.options.save_minutes
        passed = time.monotonic() - self.saved_at
        return minutes is not None and distributed.rank() == 0 and passed >= 60 * minutes

    def is_step_to_save(self, place: Place) -> bool:
        """Whether a checkpoint is due after this step of the run."""
        every = self.options.save_steps
        done = (place.epoch - 1) * self.steps + place.step + 1
        return every is not None and done % every == 0

    def report(self, totals: Totals, timer: StepTimer) -> Report | None:
        """Return the means of the epoch so far; None if all updates were skipped.

        Raises:
            RunError: a loss since the last report is not finite.
        """
        self.watch.look()
        speed = timer.report()
        if not totals.state_dict()["count"]:
            return None
        return Report(totals.means(), speed, peak_memory())

    def end_epoch(self, epoch: int) -> None:
        """Evaluate and save; only then is the epoch complete."""
        options, progress = self.options, self.state.progress
        names = []
        if self.evaluate and self.is_evaluation_due(epoch) and self.evaluate_epoch(epoch):
            names.append("best_model")
        if epoch % options.save_interval == 0:
            names.append(f"epoch_{epoch}")
        progress.epoch, progress.step, progress.totals = epoch, 0, None
        self.save(names)
        if any(distributed.any_rank(self.stop.signal is not None)) and epoch < options.epochs:
            self.raise_stopped()

    def is_evaluation_due(self, epoch: int) -> bool:
        """Whether an epoch ends with an evaluation; the last one always does."""
        options = self.options
        due = epoch >= options.start_eval_epoch and epoch % options.eval_interval == 0
        return due or epoch == options.epochs

    def evaluate_epoch(self, epoch: int) -> bool:
        """Evaluate; return whether no earlier evaluation was better."""
        assert self.evaluate is not None
        state, progress = self.state, self.state.progress
        # Every process evaluates the saved model, that of rank 0.
        distributed.broadcast(statistics(state.model))
        weights = state.average.applied() if state.average else nullcontext()
        try:
            with weights, state.precision.evaluating(), self.stop.at_once():
                found = self.evaluate()
        except Interrupted:
            self.save()
            self.raise_stopped()
        score, best, self.warning = found.score, progress.best_metric, found.warning
        is_best = best is None or score >= best
        progress.stale = 0 if best is None or score > best else progress.stale + 1
        if is_best:
            progress.best_metric, progress.best_epoch = score, epoch
            if distributed.rank() == 0:
                write_class_rows(self.folder.path / "classes.csv", rows_of(found))
        watches = self.schedule.watches
        if watches and epoch > self.schedule.warmup_epoch:
            progress.watched.append(score if watches == "score" else found.means["loss"])
        for callback in self.callbacks:
            callback.on_eval(self, epoch, found)
        return is_best

    def save(self, names: Sequence[str] = ()) -> None:
        """Write the checkpoint `latest`, and copies of it under these names.

        Raises:
            RunError: the run's folder is missing, or cannot be written to.
        """
        self.watch.look()
        self.saved_at = time.monotonic()
        if distributed.rank() != 0:
            return
        if not self.folder.path.is_dir():
            # Recreating it would hide that it was removed, or that its disk is not mounted.
            raise RunError(f"{self.folder.path}: cannot save: the folder of the run is gone")
        progress = self.state.progress
        checkpoint = write_checkpoint(
            self.folder.checkpoint("latest"),
            self.state.state_dict(),
            epoch=progress.epoch,
            step=progress.step,
            names=tuple(names),
        )
        self.name(checkpoint)
        for callback in self.callbacks:
            callback.on_save(self, checkpoint)

    def name(self, checkpoint: Checkpoint) -> None:
        """Copy a checkpoint to its other names, and remove old `epoch_N` beyond `keep_last`."""
        for name in checkpoint.names:
            copy_checkpoint(checkpoint, self.folder.checkpoint(name))
        if self.student and "best_model" in checkpoint.names:
            weights = read_weights(checkpoint.files[".pdparams"])
            start = f"{self.student}."
            own = {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
            write_weights(own, self.folder.path / STUDENT_FILE)
        if self.options.keep_last:
            for epoch in self.folder.kept_epochs()[: -self.options.keep_last]:
                remove_checkpoint(self.folder.checkpoint(f"epoch_{epoch}"))

    def raise_stopped(self) -> None:
        """End the saved run because of a signal."""
        progress = self.state.progress
        assert self.stop.signal is not None
        raise Stopped(
            f"stopped after epoch {progress.epoch}, step {progress.step} of the next, and saved as "
            f"{self.folder.checkpoint('latest')}; resume with -o Global.checkpoints=auto",
            128 + self.stop.signal,
        )


@names_options
def train(
    config: Config,
    *,
    overwrite: bool = False,
    profile: ProfileOptions | None = None,
    model: nn.Layer | None = None,
    loss: LossFunction | None = None,
    callbacks: Sequence[Callback] = (),
) -> TrainResult:
    """Train a configuration; write everything to `output_dir/<Arch>/`.

    The folder gets three kinds of checkpoints (`.pdparams`, `.pdopt`, `.pdstates` and a manifest):
    `latest` (after every epoch, and more often with `save_steps` and `save_minutes`), `best_model`
    (highest top-1; of equals the latest) and `epoch_N` every `save_interval` epochs. It also gets
    `config.yaml`, `label_list.txt`, `runs.jsonl`, `train.log`, `metrics.jsonl`, `curves.png` and
    `classes.csv` (the accuracy of `best_model` for each class). A distillation adds
    `best_model_student.pdparams`, the weights of the deployed model alone.

    `Global.checkpoints` names a checkpoint to resume from, step by step as if the run had never
    stopped; `auto` is the newest in the run's own folder, if any. `auto` leaves a finished run
    unchanged.

    Started by `paddle.distributed.launch`, several processes train as one; the first writes files.

    Args:
        config: the configuration.
        overwrite: replace an earlier run in the same folder.
        profile: which steps to profile, if any.
        model: a network of your own, with its weights, instead of the one of `Arch`: it maps
            float32 (N, 3, H, W) to logits (N, `Arch.class_num`). `Arch.name` names the run.
        loss: a function of logits and labels to a scalar, instead of `Loss.Train`. Labels are int64
            (N,), or float32 (N, C) if images are mixed or have several labels.
        callbacks: called during the run, after its own logs.

    Raises:
        ConfigError: a section is missing, the folder is among the images of the data set or holds
            an earlier run and `overwrite` is false, or the run to resume, named by its path, is
            finished or has more epochs.
        DataError: a list, a label, the class names or an image is wrong.
        WeightsError: the pretrained weights are not available, or are made for another model.
        RunError: the loss is not finite, no such device, the folder cannot be written to, or
            another process of the run has ended.
        Stopped: SIGINT or SIGTERM stopped the run; it is saved.
    """
    if not isinstance(config, Config):
        raise ConfigError(f"train takes a Config, as ppcls.load_config returns it, not {config!r}")
    if loss is not None and (inspect.isclass(loss) or not callable(loss)):
        raise ConfigError(f"train: loss is a function of logits and labels, not {loss!r}")
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise ConfigError(f"train: callbacks are ppcls.Callback objects, not {callback!r}")
    with on_device(config.Global.device) as device:
        return _train(config, device, overwrite, profile, model, loss, callbacks)


def _train(
    config: Config,
    device: str,
    overwrite: bool,
    profile: ProfileOptions | None,
    model: nn.Layer | None,
    loss: LossFunction | None,
    callbacks: Sequence[Callback],
) -> TrainResult:
    start, options = time.perf_counter(), config.Global
    if overwrite and options.checkpoints == "auto":
        raise ConfigError(
            "--overwrite replaces the run that Global.checkpoints=auto resumes; leave one out"
        )
    folder, is_first = run_folder(config), distributed.rank() == 0
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest())
        data = open_run_data(config, device, stack)
        refuse_output_among_images(data)
        if is_first:
            stack.enter_context(locked(folder.path))
        # Only then do the other processes look for its checkpoints.
        distributed.barrier()
        run = build_run(data, model, loss)
        progress = run.state.progress
        if run.finished:
            return _result(folder, run, start, was_finished=True)
        if profile:
            profile.check_length((options.epochs - progress.epoch) * data.steps - progress.step)
        resumes_here = run.checkpoint is not None and folder.holds(run.checkpoint.prefix)
        if is_first:
            if resumes_here:
                describe_run(folder.path, run.config, data.labels)
            else:
                claim_folder(folder, run.config, data.labels, overwrite)
            record_start(folder.path, data.device, distributed.world_size(), options.plugins)
        profiling = stack.enter_context(Profile(profile)) if profile and is_first else None
        own = _own_callbacks(options, folder.path) if is_first else []
        if options.early_stop_patience:
            own.append(EarlyStopping(options.early_stop_patience))
        trainer = Trainer(run, folder, stop, [*own, *callbacks], profiling)
        if run.checkpoint and resumes_here and is_first:
            trainer.name(run.checkpoint)
        begun_at = progress.epoch, progress.step
        about = f"{data.summary()}, {counted(options.epochs, 'epoch')}; writing to {folder.path}"
        trainer.run([about, *run.notes])
    if is_first:
        training_curves(folder.path / METRICS_FILE, folder.path / "curves.png")
    was_finished = (progress.epoch, progress.step) == begun_at
    if trainer.warning:
        run.warnings.append(f"in the last evaluation, {trainer.warning}")
    return _result(folder, run, start, was_finished)


def _own_callbacks(options: GlobalOptions, folder: Path) -> list[Callback]:
    """Return the logs of a run; only the first process writes them."""
    logs: list[Callback] = [TextLog(folder), ProgressBar(), MetricsFile(folder)]
    if options.use_visualdl:
        place = Path(options.vdl_dir or folder / "vdl")
        logs.append(VisualDL(place, gradients=options.vdl_gradients))
    return logs


def _result(folder: RunFolder, run: Run, start: float, was_finished: bool) -> TrainResult:
    """Return the result in a run's folder; the run started at this `time.perf_counter()`."""
    best = Path(f"{folder.checkpoint('best_model')}.pdparams")
    if run.config.Arch.student:
        best = folder.path / STUDENT_FILE
    if not best.is_file():
        best = Path(f"{folder.checkpoint('latest')}.pdparams")
    return TrainResult(
        folder.path,
        best,
        run.state.progress.best_metric,
        deciding_metric(run.config),
        time.perf_counter() - start,
        was_finished,
        tuple(run.warnings),
    )
