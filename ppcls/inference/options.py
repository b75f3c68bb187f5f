"""The options of a predictor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ppcls.inference.types import Device, InferencePrecision
from ppcls.options import Count, Options

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
        topk: number of classes in a result; None is the model's own number.
        threshold: leave classes with a lower score out of a result.
        batch_size: number of images per inference.
        workers: threads that decode and transform; None is one per core.
        allow_url: whether a string that is a URL may be fetched.
        labels: class names or a file of them, for a model from another tool, or to replace the
            exported ones; for a model from another tool, an empty list numbers the classes.
        transforms: the evaluation transforms of a model from another tool, as in a configuration,
            or `imagenet` for those of most ImageNet models.
        softmax: whether a model from another tool ends with a softmax, as PaddleClas's exports do.
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
