"""Evaluation: exact means over every sample of a list."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import paddle
from paddle import Tensor, nn
from tqdm import tqdm

from ppcls.config import Config
from ppcls.data.loader import Loader
from ppcls.engine.losses import build_loss
from ppcls.engine.metrics import Totals, clip_topk
from ppcls.engine.setup import (
    Normalize,
    build_loader,
    load_trained_model,
    require,
    select_device,
)
from ppcls.errors import DataError, RunError

__all__ = ["Evaluation", "eval_topk", "evaluate", "evaluate_model"]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        count: number of images.
        means: `loss` and the share of top-k hits, `top1`, `top5` …, each the mean over images.
        seconds: how long it took.
        unreadable: number of images that could not be read: counted as wrong, and in no loss.
    """

    count: int
    means: dict[str, float]
    seconds: float
    unreadable: int = 0

    def summary(self) -> str:
        """Return the result as one line of text."""
        text = ", ".join(f"{name}: {mean:.5f}" for name, mean in self.means.items())
        wrong = f"; {self.unreadable} that cannot be read are counted as wrong"
        return text + wrong * bool(self.unreadable)


def eval_topk(config: Config) -> list[int]:
    """Return the ks of `Metric.Eval`, no k above the number of classes."""
    # Top-1 is always there: it says which checkpoint is the best.
    topk = [1, *(k for metric in config.Metric.Eval for k in metric.topk)]
    return clip_topk(topk, config.Arch.class_num)


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
    totals = Totals(topk)
    for batch in tqdm(
        loader.epoch(), "eval", total=len(loader), leave=False, disable=not sys.stderr.isatty()
    ):
        totals.add_wrong(len(batch.unreadable))
        if not len(batch.indices):
            continue
        logits = model(normalize(paddle.to_tensor(batch.images)))
        labels = paddle.to_tensor(batch.labels)
        totals.add(loss(logits, labels), logits, labels)
    if was_training:
        model.train()
    if len(loader.unreadable) == totals.count:
        raise DataError(f"none of the {totals.count} images to evaluate on can be read")
    means = totals.means()
    if not math.isfinite(means["loss"]):
        raise RunError(
            f"the loss of the evaluation is {means['loss']}: the weights are not finite numbers, "
            "or give answers that are not"
        )
    return Evaluation(totals.count, means, time.perf_counter() - start, len(loader.unreadable))


def evaluate(config: Config, *, allow_random: bool = False) -> Evaluation:
    """Evaluate the weights of `Global.pretrained_model` on `DataLoader.Eval`.

    Raises:
        ConfigError: a section or the weights' path is missing (`allow_random` does without).
        DataError: the list, a label, or an image is wrong.
        WeightsError: the weights cannot be read, or are made for another model or number of
            classes.
    """
    data = require(config.DataLoader.Eval, "DataLoader.Eval", "ppcls eval")
    select_device(config.Global.device)
    with build_loader(data, config.Arch.class_num, config.Global.seed) as loader:
        model = load_trained_model(config, "ppcls eval", allow_random)
        return evaluate_model(model, loader, build_loss(config.Loss.Eval), eval_topk(config))
