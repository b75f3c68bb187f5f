"""Evaluation of a model on every sample of a list, exact, in one pass."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from ppcls.data.loader import Loader
from ppcls.distributed import on_device
from ppcls.errors import DataError, RunError
from ppcls.evaluation.answer_log import AnswerLog, LabelSetLog, joined
from ppcls.evaluation.chosen_metrics import deciding_metric, evaluation_metrics
from ppcls.evaluation.report import write_report
from ppcls.evaluation.results import Evaluation
from ppcls.losses.base import weighted_sum
from ppcls.metrics.multi_label import decision_threshold
from ppcls.models.base import ImageClassifier
from ppcls.models.normalize import Normalize
from ppcls.printable import say
from ppcls.spelling import names_options

__all__ = [
    "evaluate",
    "evaluate_model",
    "topk_note",
]


def topk_note(config: Config) -> list[str]:
    """Report metrics whose k is above the number of classes, if any."""
    metrics = (*config.Metric.Train, *config.Metric.Eval)
    classes = config.Arch.class_num
    asked = {k for metric in metrics for k in getattr(metric, "topk", [])}
    high = " and ".join(f"top{k}" for k in sorted(asked) if k > classes)
    counted = f"there are {classes} classes: {high} of Metric is counted as top{classes}"
    return [counted] if high else []


@names_options
@paddle.no_grad()
def evaluate_model(
    model: nn.Layer, loader: Loader, config: Config, names: Sequence[str]
) -> Evaluation:
    """Evaluate a model on every sample of a loader; keep the model's training or evaluation mode.

    Loss and metrics are those of `Loss.Eval` and `Metric.Eval`. Single-label results always include
    top-1 accuracy. Multi-label results include mean average precision if no configured metric can
    choose the best weights.

    With several processes each has a loader of its share, and all get the same result:
    predictions are merged image by image, and losses are summed in float64.

    Args:
        model: maps images to logits.
        loader: the loader of the data set, or of this process's share.
        config: the losses, the metrics, and the number of classes.
        names: the class names.

    Raises:
        ImageError: a sample cannot be decoded, and the data set does not count it as wrong.
        DataError: no sample can be decoded.
        RunError: the loss is not finite.
    """
    was_training, start = model.training, time.perf_counter()
    model.eval()
    normalize = Normalize(loader.affine)
    loss = weighted_sum(config.Loss.Eval)
    log: AnswerLog | LabelSetLog = LabelSetLog() if config.multi_label else AnswerLog()
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
    means |= {metric.key: metric.value(answers) for metric in evaluation_metrics(config)}
    if not math.isfinite(means["loss"]):
        raise RunError(
            f"the loss of the evaluation is {means['loss']}: the weights or the logits are not "
            "finite"
        )
    threshold = decision_threshold(config.Metric.Eval)
    metric = deciding_metric(config)
    return Evaluation(means, metric, answers, names, time.perf_counter() - start, threshold)


class EvaluationParts(NamedTuple):
    """The arguments of `evaluate_model`; the model is the deployed one of a distillation."""

    model: ImageClassifier
    loader: Loader
    config: Config
    names: list[str]


@contextmanager
def open_evaluation(config: Config, allow_random: bool) -> Iterator[EvaluationParts]:
    """Open the model and the validation set of a configuration; the context closes the loader.

    Raises:
        PpclsError: as `evaluate`.
    """
    config = config.deployed()
    names = trained_label_names(config)
    data = required(config.DataLoader.Eval, "DataLoader.Eval", "ppcls eval")
    with on_device(config.Global.device):
        if distributed.rank() == 0:
            for note in topk_note(config):
                say(note, sys.stderr)
        samples = data.dataset.read(config.Arch.class_num)
        images = data.dataset.images(samples, config.pipeline("Eval"), config.Global.seed)
        ranks = distributed.rank(), distributed.world_size()
        with Loader(images, data.sampler, data.loader.num_workers, *ranks) as loader:
            model = load_trained_model(config, "ppcls eval", allow_random)
            yield EvaluationParts(model, loader, config, names)


@names_options
def evaluate(
    config: Config, *, allow_random: bool = False, report: str | Path | None = None
) -> Evaluation:
    """Evaluate the weights of `Global.pretrained_model` on `DataLoader.Eval`.

    Started by `paddle.distributed.launch`, several processes share the images; the first writes
    the report.

    Args:
        config: the configuration.
        allow_random: evaluate an untrained model if no weights are named.
        report: the folder for tables and plots (see `write_report`).

    Raises:
        ConfigError: a section or the path of the weights is missing (see `allow_random`), or the
            report would be among the images.
        DataError: the list, a label, or an image is wrong.
        WeightsError: the weights cannot be read, or are made for another model or number of
            classes.
        RunError: the loss is not finite, the report cannot be written, or another process is lost.
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
