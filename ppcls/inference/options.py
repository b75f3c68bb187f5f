"""The options of a predictor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ppcls.inference.types import Device, InferencePrecision
from ppcls.options import Count, Options
from ppcls.thresholds import AskedThresholds

__all__ = ["PredictorOptions"]


class PredictorOptions(Options):
    """The options of a `Predictor`.

    Attributes:
        backend: a backend's name in `ppcls backends`. `auto` takes the fastest one from
            `ppcls benchmark --tune`, and otherwise the first usable one in the order of speed on
            our models.
        device: `auto` takes a GPU if the backend can use one.
        precision: precision to compute in; predictions in `fp16` and `bf16` differ slightly.
        threads: CPU threads of one inference; None is all cores.
        topk: number of classes in a result; None is the model's own number, or for a multi-label
            model no limit.
        threshold: leave classes with a lower score out of a result; None is 0. A multi-label result
            has the classes above it, and None is the threshold of each class in the export; a list
            with one for each class, or a map of class names, in which `default` is that of the
            others, also works.
        batch_size: number of images per inference.
        workers: threads that decode and transform; None is one per core.
        allow_url: whether a string that is a URL may be fetched.
        labels: class names or a file of them, for a model from another tool, or to replace the
            exported ones; for a model from another tool, an empty list numbers the classes.
        transforms: the evaluation transforms of a model from another tool, as in a configuration,
            or `imagenet` for those of most ImageNet models.
        softmax: whether a model from another tool ends with a softmax, or a multi-label one with a
            sigmoid, as PaddleClas's exports do.
        multi_label: whether a model from another tool is a multi-label one.
    """

    backend: str = "auto"
    device: Device = "auto"
    precision: InferencePrecision = "fp32"
    threads: Count | None = None
    topk: Count | None = None
    threshold: AskedThresholds | None = None
    batch_size: Count = 32
    workers: Count | None = None
    allow_url: bool = False
    labels: str | Path | Sequence[str] | None = None
    transforms: str | Sequence[Any] | None = None
    softmax: bool | None = None
    multi_label: bool | None = None
