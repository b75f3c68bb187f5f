"""What a predictor can be told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ppcls.inference.types import Device, InferencePrecision
from ppcls.options import Count, Options

__all__ = ["PredictorOptions"]


class PredictorOptions(Options):
    """What a `Predictor` can be told.

    Attributes:
        backend: what runs the network, by its name in `ppcls backends`; `auto` takes what
            `ppcls benchmark --tune` found the fastest, or else the first of those that were faster
            on our models, are installed and can run this one.
        device: where; `auto` takes a GPU where the backend can use one.
        precision: what to compute in; answers in `fp16` and `bf16` differ a little.
        threads: CPU threads of one inference; None is all cores.
        topk: number of classes in an answer; None is the model's own number.
        threshold: leave classes with a lower score out of an answer.
        batch_size: images that are computed at once.
        workers: threads that decode and transform; None is one a core.
        allow_url: whether a string that is a URL may be fetched.
        labels: class names, or the file of them, for a model of another tool than ppcls, or in the
            place of the exported ones.
        transforms: the evaluation transforms of a model of another tool, which does not say them:
            as in a configuration, or `imagenet` for those of most ImageNet models.
        softmax: whether a model of another tool ends with one, as PaddleClas's exports do.
    """

    backend: str = "auto"
    device: Device = "auto"
    precision: InferencePrecision = "fp32"
    threads: Count | None = None
    topk: Count | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    batch_size: Count = 32
    workers: Count | None = None
    allow_url: bool = False
    labels: str | Path | Sequence[str] | None = None
    transforms: str | Sequence[Any] | None = None
    softmax: bool | None = None
