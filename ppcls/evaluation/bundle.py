"""Evaluation of an exported model with any backend."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ppcls.data.lists import (
    LABEL_LIST,
    VAL_LIST,
    Sample,
    different_names,
    read_image_list,
    read_label_names,
)
from ppcls.errors import DataError
from ppcls.evaluation.results import Evaluation, collapse
from ppcls.inference.predictor import Predictor
from ppcls.inference.results import Result
from ppcls.metrics.answers import LabelSets
from ppcls.metrics.base import Metric
from ppcls.metrics.multi_label import AccuracyScore, HammingDistance, MultiLabelMAP

__all__ = [
    "BundleEvaluation",
    "evaluate_label_sets",
    "evaluate_predictor",
    "held_out_images",
    "refuse_other_names",
]


@dataclass(frozen=True)
class BundleEvaluation:
    """The result of an evaluation.

    Attributes:
        count: number of images.
        means: the metrics by name: `top1`, `top5` …, or those of a multi-label evaluation.
        seconds: the duration.
        hits: by k, the number of images with the true class among the k best; empty for a
            multi-label model.
        warning: what is wrong if the predictions do not depend on the images; otherwise "".
    """

    count: int
    means: dict[str, float]
    seconds: float
    hits: dict[int, int] = field(default_factory=dict)
    warning: str = ""

    def summary(self) -> str:
        """Return the result as one line of text."""
        return ", ".join(f"{name}: {mean:.5f}" for name, mean in self.means.items())


def held_out_images(data: str | Path, class_num: int, *, multi_label: bool = False) -> list[Sample]:
    """Return the validation images: of a folder's `val_list.txt`, or of a list.

    A multi-label list has a tab and 0 or 1 for each class after the path, as `MultiLabelDataset`.

    Raises:
        DataError: no such list, or one of its lines is wrong.
    """
    path = Path(data).expanduser()
    path = path / VAL_LIST if path.is_dir() else path
    delimiter = "\t" if multi_label else " "
    return read_image_list(
        path, path.parent, class_num, delimiter=delimiter, multi_label=multi_label
    )


def refuse_other_names(data: str | Path, names: Sequence[str]) -> None:
    """Stop if a data set and a model have different class names.

    Raises:
        DataError: `data` is a folder whose `label_list.txt` has other names.
    """
    folder = Path(data).expanduser()
    labels = folder / LABEL_LIST
    difference = labels.is_file() and different_names(read_label_names(labels), names)
    if difference:
        raise DataError(
            f"{labels}: {difference} in the exported model; if only the names differ, not the "
            f"classes, use --data {folder / VAL_LIST}"
        )


def evaluate_predictor(
    predictor: Predictor, samples: Sequence[Sample], topk: Sequence[int] = (1, 5)
) -> BundleEvaluation:
    """Count the images with the true class among the k best predictions.

    Args:
        predictor: the model's predictor, with `topk` of at least the largest k.
        samples: images and their classes.
        topk: the ks; those above the number of classes are ignored.

    Raises:
        DataError: there are no images, or one cannot be read.
    """
    ks = sorted({min(k, len(predictor.labels)) for k in topk})
    ranks = np.zeros(max(ks), np.int64)
    best = []
    start = time.perf_counter()
    results = _each_result(predictor.predict([s.path for s in samples]), len(samples))
    for sample, result in zip(samples, results, strict=True):
        if not isinstance(sample.label, int):
            raise DataError(f"{sample.path}: several classes; top-k needs images with one class")
        if sample.label in result.class_ids[: max(ks)]:
            ranks[result.class_ids.index(sample.label)] += 1
        best.append((sample.label, result.class_ids[0], result.scores[0]))
    hits = {k: int(ranks[:k].sum()) for k in ks}
    means = {f"top{k}": count / len(samples) for k, count in hits.items()}
    label, predicted, confidence = map(np.array, zip(*best, strict=True))
    warning = collapse(label, predicted, confidence, predictor.labels)
    return BundleEvaluation(len(samples), means, time.perf_counter() - start, hits, warning)


def evaluate_label_sets(
    predictor: Predictor, samples: Sequence[Sample], metrics: Sequence[Metric] | None = None
) -> BundleEvaluation:
    """Evaluate a multi-label model.

    Args:
        predictor: the model's predictor.
        samples: images, and 0 or 1 for each class.
        metrics: single-valued metrics; None is the mean average precision, and the decisions at the
            thresholds of the predictor.

    Raises:
        DataError: there are no images, one cannot be read, or its label does not fit.
    """
    if metrics is None:
        at = predictor.threshold
        metrics = [
            MultiLabelMAP(),
            AccuracyScore(threshold=at),
            AccuracyScore(threshold=at, base="sample"),
            HammingDistance(threshold=at),
        ]
    start = time.perf_counter()
    results = _each_result(predictor.predict_scores([s.path for s in samples]), len(samples))
    scores, labels = [], []
    for sample, result in zip(samples, results, strict=True):
        if not isinstance(sample.label, tuple) or len(sample.label) != len(predictor.labels):
            raise DataError(
                f"{sample.path}: the label is not 0 or 1 for each of the "
                f"{len(predictor.labels)} classes of the multi-label model"
            )
        scores.append(result.all_scores)
        labels.append(sample.label)
    count = len(samples)
    answers = LabelSets(
        np.arange(count), np.array(labels, bool), np.array(scores, np.float32), np.ones(count, bool)
    )
    means = {metric.key: metric.value(answers) for metric in metrics}
    warning = Evaluation(means, "", answers, predictor.labels, 0.0).warning
    return BundleEvaluation(count, means, time.perf_counter() - start, warning=warning)


def _each_result(results: Iterator[Result], count: int) -> Iterator[Result]:
    """Yield the results, with a bar on a terminal; raise `DataError` if there is none."""
    from tqdm import tqdm

    if not count:
        raise DataError("no images to evaluate on")
    hidden = not sys.stderr.isatty()
    for result in tqdm(results, "eval", total=count, leave=False, disable=hidden):
        if result.error is not None:
            raise DataError(result.error)
        yield result
