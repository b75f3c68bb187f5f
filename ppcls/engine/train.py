"""Training: one readable loop."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F

from ppcls.arch.layers import ImageClassifier
from ppcls.arch.weights import load_weights
from ppcls.config import Config, dump_config
from ppcls.config.classes import label_names, resolve_classes
from ppcls.config.optimizer import OptimizerBase, ReduceOnPlateau
from ppcls.data.doctor import quick_check
from ppcls.data.lists import LABEL_LIST
from ppcls.data.loader import Loader
from ppcls.data.mix import CutmixOperator, MixupOperator
from ppcls.engine.checkpoint import RunState, load_checkpoint, save_checkpoint
from ppcls.engine.evaluate import eval_topk, evaluate_model
from ppcls.engine.logs import RunLog, Speed, StepTimer
from ppcls.engine.losses import build_loss
from ppcls.engine.metrics import Totals, clip_topk
from ppcls.engine.optim import build_optimizer, learning_rate_schedule
from ppcls.engine.setup import (
    Normalize,
    build_loader,
    build_model,
    find_weights,
    require,
    seed_everything,
    select_device,
)
from ppcls.errors import ConfigError, RunError
from ppcls.files import replacing
from ppcls.plots import training_curves

__all__ = ["TrainResult", "train"]


@dataclass(frozen=True)
class TrainResult:
    """What a training run left behind.

    Attributes:
        folder: where checkpoints, configuration, logs and curves are.
        best: the weights of the best evaluation; the latest where there was none.
        best_top1: their top-1 accuracy, 0 to 1; None where there was no evaluation.
        seconds: how long the run took, evaluations included.
    """

    folder: Path
    best: Path
    best_top1: float | None
    seconds: float


def _claim_folder(config: Config, labels: Sequence[str], overwrite: bool) -> Path:
    """Return the run's folder, with the configuration and without an earlier run's results.

    A run that is resumed in its own folder finds it as it left it.

    The class names are copied there and the written configuration names the copy: weights and
    names stay together, whatever becomes of the data set.

    Raises:
        ConfigError: an earlier run is there and may not be overwritten.
        RunError: the folder cannot be written.
    """
    folder = Path(config.Global.output_dir) / config.Arch.name
    names = ("config.yaml", "train.log", "metrics.jsonl", "*.pd*")
    earlier = [path for name in names for path in folder.glob(name)]
    resumed = config.Global.checkpoints
    if resumed and Path(resumed).resolve().parent == folder.resolve():
        return folder
    if earlier and not overwrite:
        raise ConfigError(
            f"{folder} holds an earlier run ({earlier[0].name}); choose another folder "
            "(-o Global.output_dir=DIR) or add --overwrite"
        )
    if config.Infer:
        with replacing(folder / LABEL_LIST) as file:
            lines = [f"{label} {name}\n" for label, name in enumerate(labels)]
            file.write_text("".join(lines), encoding="utf-8")
        post = config.Infer.PostProcess.model_copy(
            update={"class_id_map_file": str(folder / LABEL_LIST)}
        )
        infer = config.Infer.model_copy(update={"PostProcess": post})
        config = config.model_copy(update={"Infer": infer})
    with replacing(folder / "config.yaml") as file:
        file.write_text(dump_config(config), encoding="utf-8")
    for path in folder.glob("*.pd*"):
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
    return folder


class _Run:
    """One training run: what it needs, and where it stands."""

    def __init__(
        self,
        config: Config,
        optimizer_options: OptimizerBase,
        model: ImageClassifier,
        loader: Loader,
        mixing: Sequence[MixupOperator | CutmixOperator],
        eval_loader: Loader | None,
    ):
        options = config.Global
        self.config, self.model, self.loader, self.eval_loader = config, model, loader, eval_loader
        self.steps = len(loader)
        self.optimizer = build_optimizer(optimizer_options, model)
        self.schedule = optimizer_options.lr
        # A run too short for its schedule must not end only when the first epoch begins.
        learning_rate_schedule(self.schedule, options.epochs, self.steps)
        self.loss = build_loss(config.Loss.Train)
        self.eval_loss = build_loss(config.Loss.Eval)
        self.normalize = Normalize(loader.dataset.pipeline.affine)
        self.mixing = mixing
        topk = [k for metric in config.Metric.Train for k in metric.topk]
        self.topk = clip_topk(topk, config.Arch.class_num)
        self.state = RunState(epoch=0, best_top1=None)

    def train_epoch(self, epoch: int, timer: StepTimer, log: RunLog) -> None:
        """Train for one epoch (counted from 1) and report every `print_batch_step` steps."""
        self.model.train()
        totals = Totals(self.topk)
        rate = learning_rate_schedule(
            self.schedule, self.config.Global.epochs, self.steps, self.state.watched
        )
        log.begin_bar(epoch, self.config.Global.epochs, self.steps)
        for step, batch in enumerate(timer.batches(self.loader.epoch(epoch))):
            lr = rate((epoch - 1) * self.steps + step)
            self.optimizer.set_lr(lr)
            # Dropout depends on the place in the run alone, so that a resumed run draws the same.
            seed_everything(self.config.Global.seed, epoch, step)
            images = self.normalize(paddle.to_tensor(batch.images))
            labels = targets = paddle.to_tensor(batch.labels)
            if self.mixing:
                targets = F.one_hot(labels, self.config.Arch.class_num)
            for i, mix in enumerate(self.mixing):
                rng = np.random.default_rng((self.config.Global.seed, epoch, step, i))
                images, targets = mix(images, targets, rng)
            logits = self.model(images)
            loss = self.loss(logits, targets)
            loss.backward()
            self.optimizer.step()
            self.optimizer.clear_grad()
            totals.add(loss, logits, labels)
            log.advance_bar()
            if step % self.config.Global.print_batch_step == 0 or step == self.steps - 1:
                self._report(epoch, step, lr, totals.means(), timer.report(), log)
        log.end_bar()
        if self.loader.unreadable:
            log.line(self.loader.skipped())

    def _report(
        self, epoch: int, step: int, lr: float, means: dict[str, float], speed: Speed, log: RunLog
    ) -> None:
        if not math.isfinite(means["loss"]):
            raise RunError(
                f"the loss is {means['loss']} in epoch {epoch}, by step {step} (learning rate "
                f"{lr:g}); usual remedies: a lower Optimizer.lr.learning_rate, larger images"
            )
        progress = f"[Epoch {epoch}/{self.config.Global.epochs}][Iter: {step}/{self.steps}]"
        terms = self.config.Loss.Train
        loss_of_term = {type(terms[0]).__name__: means["loss"]} if len(terms) == 1 else {}
        hits = {name: mean for name, mean in means.items() if name != "loss"}
        log.step(
            f"{progress}lr({self.schedule.name}): {lr:.8f}",
            hits | loss_of_term | {"loss": means["loss"]},
            speed,
        )
        log.record(kind="train", epoch=epoch, step=step, lr=lr, **means, **speed._asdict())

    def evaluate_epoch(self, loader: Loader, epoch: int, log: RunLog) -> bool:
        """Evaluate; return whether no earlier evaluation had a higher top-1."""
        found = evaluate_model(self.model, loader, self.eval_loss, eval_topk(self.config))
        top1, best = found.means["top1"], self.state.best_top1
        is_best = best is None or top1 >= best
        watched = self.state.watched
        if isinstance(self.schedule, ReduceOnPlateau) and epoch > self.schedule.warmup_epoch:
            watched += (found.means["loss" if self.schedule.mode == "min" else "top1"],)
        self.state = RunState(epoch, top1 if is_best else best, watched)
        log.record(kind="eval", epoch=epoch, **found.means)
        log.line(
            f"[Eval][Epoch {epoch}][Avg]{found.summary()} (best top1: {self.state.best_top1:.5f})"
        )
        return is_best

    def train(self, folder: Path, log: RunLog) -> TrainResult:
        """Train for the epochs that are left, evaluating and saving after each."""
        options, first = self.config.Global, self.state.epoch + 1
        start = time.perf_counter()
        timer = StepTimer((options.epochs - first + 1) * self.steps)
        for epoch in range(first, options.epochs + 1):
            self.train_epoch(epoch, timer, log)
            self.state = replace(self.state, epoch=epoch)
            names = ["latest"]
            if epoch % options.save_interval == 0:
                names.append(f"epoch_{epoch}")
            due = epoch % options.eval_interval == 0 or epoch == options.epochs
            if self.eval_loader and due and self.evaluate_epoch(self.eval_loader, epoch, log):
                names.append("best_model")
            for name in names:
                save_checkpoint(folder / name, self.model, self.optimizer, self.state)
        chosen = "latest" if self.state.best_top1 is None else "best_model"
        return TrainResult(
            folder,
            folder / f"{chosen}.pdparams",
            self.state.best_top1,
            time.perf_counter() - start,
        )


def train(config: Config, *, overwrite: bool = False) -> TrainResult:
    """Train as the configuration says; everything is written to `output_dir/<Arch>/`.

    The folder gets the checkpoints `latest`, `best_model` (highest top-1, of equals the latest) and
    `epoch_N` every `save_interval` epochs (`.pdparams`, `.pdopt`, `.pdstates` and a manifest),
    `config.yaml`, `label_list.txt`, `train.log`, `metrics.jsonl` and `curves.png`.

    `Global.checkpoints` names a checkpoint to go on from, epoch by epoch as if the run had never
    stopped.

    Raises:
        ConfigError: a section is missing, or the folder holds an earlier run and `overwrite` is
            false.
        DataError: a list, a label, the class names or an image is wrong.
        WeightsError: the weights to start from cannot be had, or are made for another model.
        RunError: the loss is no longer finite, no such device, or nowhere to write.
    """
    options, class_num = config.Global, config.Arch.class_num
    train_data = require(config.DataLoader.Train, "DataLoader.Train", "ppcls train")
    optimizer_options = require(config.Optimizer, "Optimizer", "ppcls train")
    eval_data = None
    if options.eval_during_train:
        needed = "DataLoader.Eval (or Global.eval_during_train=false)"
        eval_data = require(config.DataLoader.Eval, needed, "ppcls train")
    config = resolve_classes(config)
    parts = {"Train": train_data.dataset} | ({"Eval": eval_data.dataset} if eval_data else {})
    quick_check(parts, class_num)
    device = select_device(options.device)
    seed_everything(options.seed)
    with ExitStack() as stack:
        loader = stack.enter_context(build_loader(train_data, class_num, options.seed))
        eval_loader = None
        if eval_data:
            eval_loader = stack.enter_context(build_loader(eval_data, class_num, options.seed))
        # Wrong class names would otherwise come to light when the trained model is exported.
        labels = label_names(config)
        model = build_model(config)
        weights, notes = find_weights(config)
        if weights:
            resuming = options.checkpoints is not None
            notes += load_weights(model, weights, adapt=not resuming, strict=options.strict)
        # mypy takes a union for its members' base class where a type variable stands for it.
        mixing = train_data.dataset.batch_transform_ops
        run = _Run(config, optimizer_options, model, loader, mixing, eval_loader)  # type: ignore[arg-type]
        if options.checkpoints is not None:
            run.state = load_checkpoint(options.checkpoints, model, run.optimizer)
            notes.append(f"resuming {options.checkpoints} after epoch {run.state.epoch}")
        folder = _claim_folder(config, labels, overwrite)
        log = stack.enter_context(RunLog(folder, run.state.epoch, options.use_visualdl))
        log.line(
            f"{config.Arch.name}, {class_num} classes, on {device}: {len(loader.dataset)} images, "
            f"{len(loader)} steps an epoch, {options.epochs} epochs; writing to {folder}"
        )
        for note in notes:
            log.line(note)
        result = run.train(folder, log)
    training_curves(log.metrics_path, folder / "curves.png")
    return result
