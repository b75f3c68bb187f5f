"""Evaluation: exact, over every sample of a list, in one pass."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import paddle
from paddle import Tensor, nn
from tqdm import tqdm

from ppcls.arch.layers import ImageClassifier
from ppcls.config import Config
from ppcls.config.classes import label_names
from ppcls.data.loader import Loader
from ppcls.engine.losses import build_loss
from ppcls.engine.metrics import AnswerLog, Answers, clip_topk
from ppcls.engine.report import write_report
from ppcls.engine.setup import (
    Normalize,
    build_loader,
    load_trained_model,
    require,
    select_device,
)
from ppcls.errors import DataError, RunError

__all__ = ["Evaluation", "eval_topk", "evaluate", "evaluate_model", "topk_note"]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        means: `loss` and the share of top-k hits, `top1`, `top5` …, each the mean over images.
        answers: what the model said of each image.
        seconds: how long it took.
        unreadable: number of images that could not be read: counted as wrong, and in no loss.
    """

    means: dict[str, float]
    answers: Answers
    seconds: float
    unreadable: int = 0

    @property
    def count(self) -> int:
        """How many images there were."""
        return len(self.answers.index) + self.unreadable

    def summary(self) -> str:
        """Return the means as one line of text."""
        text = ", ".join(f"{name}: {mean:.5f}" for name, mean in self.means.items())
        if self.unreadable:
            text += f"; {self.unreadable} that cannot be read are counted as wrong"
        return text


def eval_topk(config: Config) -> list[int]:
    """Return the ks of `Metric.Eval`, no k above the number of classes."""
    # Top-1 is always there: it says which checkpoint is the best.
    topk = [1, *(k for metric in config.Metric.Eval for k in metric.topk)]
    return clip_topk(topk, config.Arch.class_num)


def topk_note(config: Config) -> list[str]:
    """Say which ks of the metrics are above the number of classes, if there are any."""
    asked = {k for m in (*config.Metric.Train, *config.Metric.Eval) for k in m.topk}
    high = sorted(k for k in asked if k > config.Arch.class_num)
    if not high:
        return []
    classes = config.Arch.class_num
    names = " and ".join(f"top{k}" for k in high)
    return [f"there are {classes} classes: {names} of Metric is counted as top{classes}"]


@paddle.no_grad()
def evaluate_model(
    model: nn.Layer,
    loader: Loader,
    loss: Callable[[Tensor, Tensor], Tensor],
    topk: list[int],
) -> Evaluation:
    """Evaluate a model on every sample of a loader; the model comes back in the mode it was in.

    Raises:
        ImageError: a sample cannot be decoded, and the data set does not count it as wrong.
        DataError: none can be decoded.
        RunError: the loss is not finite.
    """
    was_training, start = model.training, time.perf_counter()
    model.eval()
    normalize = Normalize(loader.dataset.pipeline.affine)
    log, answered = AnswerLog(), 0
    for batch in tqdm(
        loader.epoch(), "eval", total=len(loader), leave=False, disable=not sys.stderr.isatty()
    ):
        if not len(batch.indices):
            continue
        answered += len(batch.indices)
        logits = model(normalize(paddle.to_tensor(batch.images)))
        labels = paddle.to_tensor(batch.labels)
        log.add(loss(logits, labels), logits, labels, batch.indices)
    if was_training:
        model.train()
    unreadable = len(loader.unreadable)
    if unreadable and not answered:
        raise DataError(f"none of the {unreadable} images to evaluate on can be read")
    answers = log.answers()
    means = {"loss": log.loss_sum() / answered}
    means |= {f"top{k}": answers.topk(k) * (answered / (answered + unreadable)) for k in topk}
    if not math.isfinite(means["loss"]):
        raise RunError(
            f"the loss of the evaluation is {means['loss']}: the weights are not finite numbers, "
            "or give answers that are not"
        )
    return Evaluation(means, answers, time.perf_counter() - start, unreadable)


def open_evaluation(
    config: Config, stack: ExitStack, allow_random: bool
) -> tuple[ImageClassifier, Loader]:
    """Return a trained model and the images to evaluate it on; the stack closes the loader.

    Raises:
        PpclsError: as `evaluate`.
    """
    data = require(config.DataLoader.Eval, "DataLoader.Eval", "ppcls eval")
    select_device(config.Global.device)
    loader = stack.enter_context(build_loader(data, config.Arch.class_num, config.Global.seed))
    return load_trained_model(config, "ppcls eval", allow_random), loader


def evaluate(
    config: Config, *, allow_random: bool = False, report: str | Path | None = None
) -> Evaluation:
    """Evaluate the weights of `Global.pretrained_model` on `DataLoader.Eval`.

    Args:
        config: what to evaluate on what.
        allow_random: evaluate untrained weights where none are named.
        report: a folder to write tables and pictures to (see `write_report`).

    Raises:
        ConfigError: a section or the weights' path is missing (`allow_random` does without).
        DataError: the list, a label, or an image is wrong.
        WeightsError: the weights cannot be read, or are made for another model or number of
            classes.
        RunError: the loss is not finite, or the report cannot be written.
    """
    names = label_names(config)
    with ExitStack() as stack:
        model, loader = open_evaluation(config, stack, allow_random)
        for note in topk_note(config):
            print(note, file=sys.stderr)
        found = evaluate_model(model, loader, build_loss(config.Loss.Eval), eval_topk(config))
        if report is not None:
            samples = loader.dataset.samples
            write_report(
                report,
                found,
                names,
                lambda i: samples[i].path,
                lambda i: loader.dataset.load(i, 0),
            )
    return found
