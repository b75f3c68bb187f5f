"""Facts of an exported model, from its bundle or from the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from ppcls.bundle import GRAPH_FILE, OLDER_GRAPH_FILE, ONNX_FILE, SPEC_FILE, read_bundle
from ppcls.data.lists import read_label_names
from ppcls.data.transforms.base import TransformOp
from ppcls.data.transforms.normalize import NormalizeImage
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.data.transforms.resize_crop import CropImage, DecodeImage, ResizeImage
from ppcls.errors import BundleError, ConfigError, DataError
from ppcls.options import first_problem

__all__ = ["IMAGENET_TRANSFORMS", "ModelFacts", "read_facts"]

IMAGENET_TRANSFORMS = (
    DecodeImage(),
    ResizeImage(resize_short=256),
    CropImage(size=224),
    NormalizeImage(),
)
_TRANSFORMS = TypeAdapter(list[TransformOp])


class ModelFacts(NamedTuple):
    """Facts that predictions with a model need.

    Attributes:
        pipeline: evaluation transforms.
        to_input: maps transformed images, uint8 (N, H, W, C), to the network's input.
        labels: class names, one for each output.
        topk: number of classes in a result.
        gives_scores: whether the network ends with a softmax.
        has_features: whether it has a second output with features.
    """

    pipeline: Pipeline
    to_input: Callable[[np.ndarray], np.ndarray]
    labels: list[str]
    topk: int
    gives_scores: bool
    has_features: bool


def read_facts(
    folder: Path,
    labels: str | Path | Sequence[str] | None = None,
    transforms: str | Sequence[Any] | None = None,
    softmax: bool | None = None,
) -> ModelFacts:
    """Return the facts of an exported model.

    Args:
        folder: the folder of the model.
        labels: class names or a file of them; None takes those of the bundle.
        transforms, softmax: as in `Predictor`, for a model from another tool.

    Raises:
        BundleError: there is no such folder, the bundle is incomplete or changed, or the model is
            from another tool and its labels or transforms are not given.
        ConfigError: transforms or softmax are given for a bundle, which has its own.
        DataError: the labels cannot be read, or their number is not the number of classes.
    """
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder; `ppcls export` makes one")
    names = None
    if labels is not None:
        names = read_label_names(labels) if isinstance(labels, (str, Path)) else list(labels)
    if not (folder / SPEC_FILE).is_file():
        return _foreign(folder, names, transforms, softmax)
    spec = read_bundle(folder)
    if transforms is not None or softmax is not None:
        what = "transforms (--transforms) is for models without one"
        if transforms is None:
            what = (
                "softmax (--logits) is for models without one; for logits, use predict_logits in "
                "Python"
            )
        raise ConfigError(f"{folder}: its {SPEC_FILE} has the evaluation settings; {what}")
    if names is not None and len(names) != spec.Output.classes:
        raise DataError(f"{len(names)} class names for a model with {spec.Output.classes} classes")
    top = spec.PostProcess.Topk
    return ModelFacts(
        spec.pipeline(),
        spec.preparation(),
        names or top.label_list,
        top.topk,
        spec.Output.softmax,
        bool(spec.Output.features),
    )


def _foreign(
    folder: Path,
    labels: list[str] | None,
    transforms: str | Sequence[Any] | None,
    softmax: bool | None,
) -> ModelFacts:
    if not any((folder / name).is_file() for name in (GRAPH_FILE, OLDER_GRAPH_FILE, ONNX_FILE)):
        raise BundleError(
            f"{folder}: not an exported model: no {SPEC_FILE} in it; `ppcls export` makes one"
        )
    if labels is None or transforms is None:
        raise BundleError(
            f"{folder}: an exported model without {SPEC_FILE}, so from another tool: set its class "
            "names and transforms: labels=FILE (--labels) and transforms='imagenet' (--transforms "
            "imagenet: short side to 256, centre crop of 224, ImageNet's mean and deviation) or a "
            "list of transforms (--transforms FILE.yaml)"
        )
    if isinstance(transforms, str):
        if transforms != "imagenet":
            raise ConfigError(f"transforms are a list or 'imagenet', not {transforms!r}")
        ops: list[Any] = list(IMAGENET_TRANSFORMS)
    else:
        try:
            ops = _TRANSFORMS.validate_python(list(transforms))
        except ValidationError as error:
            raise ConfigError(f"transforms.{first_problem(error)}") from None
        if not ops or not isinstance(ops[0], DecodeImage):
            ops = [DecodeImage(), *ops]
    if any(op.random for op in ops):
        raise ConfigError("transforms: random transforms are for training, not for predictions")
    pipeline = Pipeline(ops)
    gives_scores = softmax is None or softmax
    return ModelFacts(pipeline, pipeline.normalize, labels, 5, gives_scores, has_features=False)
