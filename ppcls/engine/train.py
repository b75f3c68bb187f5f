"""Training: one readable loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import paddle
from paddle import nn

from ppcls.arch.weights import load_weights
from ppcls.config import Config, dump_config
from ppcls.data.loader import Loader
from ppcls.engine.checkpoint import replacing, save_weights
from ppcls.engine.evaluate import eval_topk, evaluate_model
from ppcls.engine.logs import RunLog, StepTimer
from ppcls.engine.losses import build_loss
from ppcls.engine.metrics import Totals, clip_topk
from ppcls.engine.optim import build_optimizer, learning_rate_schedule
from ppcls.engine.setup import (
    Normalize,
    build_loader,
    build_model,
    require,
    seed_everything,
    select_device,
)
from ppcls.errors import ConfigError, RunError
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


def _claim_folder(config: Config, overwrite: bool) -> Path:
    """Return the run's folder, made empty of an earlier run's results.

    Raises:
        ConfigError: an earlier run is there and may not be overwritten.
        RunError: the folder cannot be written.
    """
    folder = Path(config.Global.output_dir) / config.Arch.name
    earlier = [p for p in folder.glob("*.pdparams")] if folder.is_dir() else []
    if earlier and not overwrite:
        raise ConfigError(
            f"{folder} holds an earlier run; choose another folder (-o Global.output_dir=DIR) "
            "or add --overwrite"
        )
    with replacing(folder / "config.yaml") as file:
        file.write_text(dump_config(config), encoding="utf-8")
    for path in earlier:
        path.unlink()
    return folder


def train(config: Config, *, overwrite: bool = False) -> TrainResult:
    """Train as the configuration says; everything is written to `output_dir/<Arch>/`.

    The folder gets `latest.pdparams`, `best_model.pdparams` (highest top-1), `epoch_N.pdparams`
    every `save_interval` epochs, `config.yaml`, `train.log`, `metrics.jsonl` and `curves.png`.

    Raises:
        ConfigError: a section is missing, or the folder holds an earlier run and `overwrite` is
            false.
        DataError: a list, a label or an image is wrong.
        WeightsError: `Global.pretrained_model` cannot be read or is made for another model.
        RunError: the loss is no longer finite, no such device, or nowhere to write.
    """
    options, class_num = config.Global, config.Arch.class_num
    train_data = require(config.DataLoader.Train, "DataLoader.Train", "ppcls train")
    optimizer_options = require(config.Optimizer, "Optimizer", "ppcls train")
    eval_data = config.DataLoader.Eval
    if options.eval_during_train:
        require(eval_data, "DataLoader.Eval (or Global.eval_during_train=false)", "ppcls train")
    device = select_device(options.device)
    seed_everything(options.seed)
    with ExitStack() as stack:
        loader = stack.enter_context(build_loader(train_data, class_num, options.seed))
        eval_loader = None
        if options.eval_during_train:
            eval_loader = stack.enter_context(build_loader(eval_data, class_num, options.seed))
        model = build_model(config)
        note = None
        if options.pretrained_model:
            note = load_weights(model, options.pretrained_model, new_head=True)
        optimizer = build_optimizer(optimizer_options, model)
        rate = learning_rate_schedule(optimizer_options.lr, options.epochs, len(loader))

        folder = _claim_folder(config, overwrite)
        log = stack.enter_context(RunLog(folder))
        log.line(
            f"{config.Arch.name}, {class_num} classes, on {device}: {len(loader.dataset)} images, "
            f"{len(loader)} steps an epoch, {options.epochs} epochs; writing to {folder}"
        )
        if note:
            log.line(note)
        result = _run_epochs(config, model, optimizer, rate, loader, eval_loader, folder, log)
    training_curves(log.metrics_path, folder / "curves.png")
    return result


def _run_epochs(
    config: Config,
    model: nn.Layer,
    optimizer: paddle.optimizer.Optimizer,
    rate: Callable[[int], float],
    loader: Loader,
    eval_loader: Loader | None,
    folder: Path,
    log: RunLog,
) -> TrainResult:
    options, steps = config.Global, len(loader)
    loss_of, eval_loss_of = build_loss(config.Loss.Train), build_loss(config.Loss.Eval)
    normalize = Normalize(loader.dataset.pipeline.affine)
    topk = clip_topk([k for m in config.Metric.Train for k in m.topk], config.Arch.class_num)
    start, timer = time.perf_counter(), StepTimer(options.epochs * steps)
    latest, best = folder / "latest.pdparams", folder / "best_model.pdparams"
    best_top1: float | None = None
    for epoch in range(1, options.epochs + 1):
        model.train()
        totals = Totals(topk)
        log.begin_bar(epoch, options.epochs, steps)
        for step, batch in enumerate(timer.batches(loader.epoch(epoch))):
            lr = rate((epoch - 1) * steps + step)
            optimizer.set_lr(lr)
            labels = paddle.to_tensor(batch.labels)
            logits = model(normalize(paddle.to_tensor(batch.images)))
            loss = loss_of(logits, labels)
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            totals.add(loss, logits, labels)
            if step % options.print_batch_step == 0 or step == steps - 1:
                means = totals.means()
                if not math.isfinite(means["loss"]):
                    raise RunError(
                        f"the loss is {means['loss']} in epoch {epoch}, by step {step} (learning "
                        f"rate {lr:g}); a lower Optimizer.lr.learning_rate is the usual remedy"
                    )
                log.step(
                    epoch=epoch,
                    epochs=options.epochs,
                    step=step,
                    steps=steps,
                    schedule=config.Optimizer.lr.name,
                    lr=lr,
                    loss_name=type(config.Loss.Train[0]).__name__,
                    means=means,
                    speed=timer.report(),
                )
        log.end_bar()
        save_weights(model, latest)
        if epoch % options.save_interval == 0:
            save_weights(model, folder / f"epoch_{epoch}.pdparams")
        if eval_loader and (epoch % options.eval_interval == 0 or epoch == options.epochs):
            found = evaluate_model(model, eval_loader, eval_loss_of, eval_topk(config))
            log.record(kind="eval", epoch=epoch, **found.means)
            top1 = found.means["top1"]
            if best_top1 is None or top1 > best_top1:
                best_top1 = top1
                save_weights(model, best)
            log.line(f"[Eval][Epoch {epoch}][Avg]{found.summary()} (best top1: {best_top1:.5f})")
    return TrainResult(
        folder, latest if best_top1 is None else best, best_top1, time.perf_counter() - start
    )
