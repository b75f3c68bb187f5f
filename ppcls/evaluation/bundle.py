"""Evaluation of an exported model with any backend."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
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
from ppcls.evaluation.results import collapse
from ppcls.inference.predictor import Predictor

__all__ = ["BundleEvaluation", "evaluate_predictor", "held_out_images", "refuse_other_names"]


@dataclass(frozen=True)
class BundleEvaluation:
    """The result of an evaluation.

    Attributes:
        count: number of images.
        hits: by k, the number of images with the true class among the k best.
        seconds: the duration.
        warning: what is wrong if the predictions do not depend on the images; otherwise "".
    """

    count: int
    hits: dict[int, int]
    seconds: float
    warning: str = ""

    @property
    def means(self) -> dict[str, float]:
        """The top-k accuracies: `top1`, `top5` …"""
        return {f"top{k}": hits / self.count for k, hits in self.hits.items()}

    def summary(self) -> str:
        """Return the result as one line of text."""
        return ", ".join(f"{name}: {mean:.5f}" for name, mean in self.means.items())


def held_out_images(data: str | Path, class_num: int) -> list[Sample]:
    """Return the validation images: of a folder's `val_list.txt`, or of a list.

    Raises:
        DataError: no such list, or one of its lines is wrong.
    """
    path = Path(data).expanduser()
    path = path / VAL_LIST if path.is_dir() else path
    return read_image_list(path, path.parent, class_num)


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
    from tqdm import tqdm

    if not samples:
        raise DataError("no images to evaluate on")
    ks = sorted({min(k, len(predictor.labels)) for k in topk})
    ranks = np.zeros(max(ks), np.int64)
    best = []
    start = time.perf_counter()
    results = predictor.predict([sample.path for sample in samples])
    bar = tqdm(results, "eval", total=len(samples), leave=False, disable=not sys.stderr.isatty())
    for sample, result in zip(samples, bar, strict=True):
        if result.error is not None:
            raise DataError(result.error)
        if not isinstance(sample.label, int):
            raise DataError(f"{sample.path}: several classes; top-k needs images with one class")
        if sample.label in result.class_ids[: max(ks)]:
            ranks[result.class_ids.index(sample.label)] += 1
        best.append((sample.label, result.class_ids[0], result.scores[0]))
    hits = {k: int(ranks[:k].sum()) for k in ks}
    label, predicted, confidence = map(np.array, zip(*best, strict=True))
    warning = collapse(label, predicted, confidence, predictor.labels)
    return BundleEvaluation(len(samples), hits, time.perf_counter() - start, warning)
