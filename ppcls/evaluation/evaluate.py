"""Evaluation: exact, over every sample of a list, in one pass."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import paddle
from paddle import nn
from tqdm import tqdm

from ppcls import distributed
from ppcls.checkpoints.weights import load_trained_model
from ppcls.config import Config, required
from ppcls.config.class_names import trained_label_names
from ppcls.config.data import refuse_among_images
from ppcls.config.deployed import deployed_config
from ppcls.data.loader import Loader, build_loader
from ppcls.devices import on_device
from ppcls.errors import DataError, RunError
from ppcls.evaluation.report import write_report
from ppcls.losses.build import build_loss
from ppcls.losses.options import MultiLabelLoss
from ppcls.metrics.answers import AnswerLog, Answers, LabelSetLog, LabelSets, clip_topk, joined
from ppcls.metrics.multi_label import decision_threshold, label_set_means
from ppcls.metrics.options import HammingDistance, LabelSetMetric, MultiLabelMAP
from ppcls.models.base import ImageClassifier
from ppcls.models.normalize import Normalize

__all__ = [
    "Evaluation",
    "deciding_metric",
    "eval_topk",
    "evaluate",
    "evaluate_model",
    "topk_note",
]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        means: `loss` and the metrics by name (`top1`, `top5` …), each the mean over images.
        metric: the name of the metric that says which weights are the best; higher is better.
        answers: what the model said of each image: of one class, or with several labels.
        names: of the classes.
        seconds: how long it took.
        threshold: from which score on an image is given one of several labels.
    """

    means: dict[str, float]
    metric: str
    answers: Answers | LabelSets
    names: Sequence[str]
    seconds: float
    threshold: float = 0.5

    @property
    def count(self) -> int:
        """How many images there were."""
        return len(self.answers.index)

    @property
    def unreadable(self) -> int:
        """How many of them could not be read: they count as wrong, and in no loss."""
        return int((~self.answers.read).sum())

    @property
    def score(self) -> float:
        """The value of that metric, 0 to 1."""
        return self.means[self.metric]

    def summary(self) -> str:
        """Return the means as one line of text."""
        text = ", ".join(f"{name}: {mean:.5f}" for name, mean in self.means.items())
        if self.unreadable:
            text += f"; {self.unreadable} that cannot be read are counted as wrong"
        return text


def eval_topk(config: Config) -> list[int]:
    """Return the ks of `Metric.Eval`, no k above the number of classes."""
    # Top-1 is always there: it says which checkpoint is the best.
    ks = [k for metric in config.Metric.Eval for k in getattr(metric, "topk", [])]
    return clip_topk([1, *ks], config.Arch.class_num)


def topk_note(config: Config) -> list[str]:
    """Say which ks of the metrics are above the number of classes, if there are any."""
    metrics = (*config.Metric.Train, *config.Metric.Eval)
    asked = {k for metric in metrics for k in getattr(metric, "topk", [])}
    high = sorted(k for k in asked if k > config.Arch.class_num)
    if not high:
        return []
    classes = config.Arch.class_num
    names = " and ".join(f"top{k}" for k in high)
    return [f"there are {classes} classes: {names} of Metric is counted as top{classes}"]


def deciding_metric(config: Config) -> str:
    """Return the name of the metric that says which weights are the best.

    It is the top-1 accuracy, or with several labels the first of `Metric.Eval` of which more is
    better.
    """
    if not _has_several_labels(config):
        return "top1"
    return next(m.key for m in _eval_metrics(config) if not isinstance(m, HammingDistance))


def _has_several_labels(config: Config) -> bool:
    return any(isinstance(term, MultiLabelLoss) for term in config.Loss.Eval)


def _eval_metrics(config: Config) -> list[LabelSetMetric]:
    """Return the metrics of images with several labels, at least one of them that chooses."""
    metrics = list(config.Metric.Eval)
    chooses = any(not isinstance(metric, HammingDistance) for metric in metrics)
    return metrics if chooses else [*metrics, MultiLabelMAP()]


@paddle.no_grad()
def evaluate_model(
    model: nn.Layer, loader: Loader, config: Config, names: Sequence[str]
) -> Evaluation:
    """Evaluate a model on every sample of a loader; the model comes back in the mode it was in.

    Loss and metrics are those of `Loss.Eval` and `Metric.Eval`. Of images with one class there is
    always the top-1 accuracy, of images with several labels at least the mean average precision.

    With several processes each has a loader of its share, and all get the same result: answers
    image by image are put together, and losses are summed in float64.

    Args:
        model: maps images to logits.
        loader: over the data set, or this process's share of it.
        config: the losses, the metrics, and the number of classes.
        names: of the classes.

    Raises:
        ImageError: a sample cannot be decoded, and the data set does not count it as wrong.
        DataError: none can be decoded.
        RunError: the loss is not finite.
    """
    was_training, start = model.training, time.perf_counter()
    model.eval()
    normalize = Normalize(loader.dataset.pipeline.affine)
    loss = build_loss(config.Loss.Eval)
    log: AnswerLog | LabelSetLog = LabelSetLog() if _has_several_labels(config) else AnswerLog()
    hide = distributed.rank() != 0 or not sys.stderr.isatty()
    for batch in tqdm(loader.epoch(), "eval", total=len(loader), leave=False, disable=hide):
        if batch.unreadable:
            unread = np.array([sample.number for sample in batch.unreadable])
            log.add_unread(loader.dataset.labels(unread), unread)
        if not len(batch.indices):
            continue
        logits = model(normalize(paddle.to_tensor(batch.images)))
        labels = paddle.to_tensor(batch.labels)
        log.add(loss(logits, labels), logits, labels, batch.indices)
    if was_training:
        model.train()
    parts = [part for part in distributed.gather(log.collected()) if part is not None]
    loss_sum = math.fsum(value for values, _ in parts for value in values)
    answers = joined([part for _, part in parts])
    if not answers.read.any():
        count = len(answers.index)
        raise DataError(f"none of the {count} images to evaluate on can be read")
    means = {"loss": loss_sum / int(answers.read.sum())}
    if isinstance(answers, LabelSets):
        means |= label_set_means(answers, _eval_metrics(config))
    else:
        means |= {f"top{k}": answers.topk(k) for k in eval_topk(config)}
    if not math.isfinite(means["loss"]):
        raise RunError(
            f"the loss of the evaluation is {means['loss']}: the weights are not finite numbers, "
            "or give answers that are not"
        )
    threshold = decision_threshold(config.Metric.Eval)
    metric = deciding_metric(config)
    return Evaluation(means, metric, answers, names, time.perf_counter() - start, threshold)


class EvaluationParts(NamedTuple):
    """What `evaluate_model` takes: of a distillation, the model that is deployed."""

    model: ImageClassifier
    loader: Loader
    config: Config
    names: list[str]


@contextmanager
def open_evaluation(config: Config, allow_random: bool) -> Iterator[EvaluationParts]:
    """Open what a configuration says is to be evaluated; the context closes the loader.

    Raises:
        PpclsError: as `evaluate`.
    """
    config = deployed_config(config)
    names = trained_label_names(config)
    data = required(config.DataLoader.Eval, "DataLoader.Eval", "ppcls eval")
    with on_device(config.Global.device):
        if distributed.rank() == 0:
            for note in topk_note(config):
                print(note, file=sys.stderr)
        samples = data.dataset.read(config.Arch.class_num)
        with build_loader(
            data.dataset,
            data.sampler,
            samples,
            config.Global.seed,
            data.loader.num_workers,
            distributed.rank(),
            distributed.world_size(),
        ) as loader:
            model = load_trained_model(config, "ppcls eval", allow_random)
            yield EvaluationParts(model, loader, config, names)


def evaluate(
    config: Config, *, allow_random: bool = False, report: str | Path | None = None
) -> Evaluation:
    """Evaluate the weights of `Global.pretrained_model` on `DataLoader.Eval`.

    Started by `paddle.distributed.launch`, several processes share the images; the first writes.

    Args:
        config: what to evaluate on what.
        allow_random: evaluate untrained weights where none are named.
        report: a folder to write tables and pictures to (see `write_report`).

    Raises:
        ConfigError: a section or the weights' path is missing (`allow_random` does without), or the
            report would lie among the images.
        DataError: the list, a label, or an image is wrong.
        WeightsError: the weights cannot be read, or are made for another model or number of
            classes.
        RunError: the loss is not finite, the report cannot be written, or another process is gone.
    """
    with open_evaluation(config, allow_random) as parts:
        if report is not None:
            refuse_among_images(report, config.DataLoader, parts.loader.dataset.samples)
        found = evaluate_model(*parts)
        if report is not None and distributed.rank() == 0:
            dataset = parts.loader.dataset
            write_report(
                report,
                found,
                lambda i: dataset.samples[i].path,
                lambda i: dataset.load(i, 0),
            )
    return found
