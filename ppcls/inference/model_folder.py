"""Facts of an exported model, from its bundle or from the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from ppcls.bundle import (
    GRAPH_FILE,
    OLDER_GRAPH_FILE,
    ONNX_FILE,
    SPEC_FILE,
    PreProcess,
    is_bundle,
    load_spec,
    read_bundle,
)
from ppcls.data.lists import read_label_names
from ppcls.data.transforms.base import TransformOp
from ppcls.data.transforms.normalize import NormalizeImage
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.data.transforms.resize_crop import CropImage, DecodeImage, ResizeImage
from ppcls.errors import BundleError, ConfigError, DataError
from ppcls.options import Count, Options, first_problem
from ppcls.registry import follows_registries

__all__ = ["IMAGENET_TRANSFORMS", "ModelFacts", "describes_itself", "read_facts"]

IMAGENET_TRANSFORMS = (
    DecodeImage(),
    ResizeImage(resize_short=256),
    CropImage(size=224),
    NormalizeImage(),
)
_TRANSFORMS = TypeAdapter(list[TransformOp])


class PaddleClasTopk(Options):
    topk: Count = 5
    label_list: Annotated[list[str], Field(min_length=1)]


class PaddleClasPostProcess(Options):
    Topk: PaddleClasTopk


@follows_registries
class PaddleClasSpec(Options):
    """The `inference.yml` that PaddleClas 2.5 and later export for FastDeploy and PaddleX.

    `Global` names the model, and `Hpi` holds settings of PaddleX; neither matters for predictions.
    """

    Global: dict[str, Any] = {}
    Hpi: dict[str, Any] | None = None
    PreProcess: PreProcess
    PostProcess: PaddleClasPostProcess


class ModelFacts(NamedTuple):
    """Facts that predictions with a model need.

    Attributes:
        pipeline: evaluation transforms.
        to_input: maps transformed images, uint8 (N, H, W, C), to the network's input.
        labels: class names, one for each output; none numbers the classes.
        topk: number of classes in a result; None is no limit.
        threshold: as in `Classifier`.
        gives_scores: whether the network ends with a softmax, or a multi-label one with a sigmoid.
        multi_label: whether an image may have several classes.
        has_features: whether it has a second output with features.
    """

    pipeline: Pipeline
    to_input: Callable[[np.ndarray], np.ndarray]
    labels: list[str]
    topk: int | None
    threshold: float | list[float]
    gives_scores: bool
    multi_label: bool
    has_features: bool


def describes_itself(folder: Path) -> bool:
    """Whether an exported model has an `inference.yml`, of ppcls or of PaddleClas."""
    return (folder / SPEC_FILE).is_file()


def read_facts(
    folder: Path,
    labels: str | Path | Sequence[str] | None = None,
    transforms: str | Sequence[Any] | None = None,
    softmax: bool | None = None,
    multi_label: bool | None = None,
) -> ModelFacts:
    """Return the facts of an exported model.

    Args:
        folder: the folder of the model.
        labels: class names or a file of them; None takes those of the folder's `inference.yml`.
        transforms, softmax, multi_label: as in `Predictor`, for a model from another tool;
            transforms default to those of PaddleClas's `inference.yml`.

    Raises:
        BundleError: there is no such folder, the bundle is incomplete or changed, or the model is
            from another tool and its labels or transforms are not given.
        ConfigError: transforms, softmax or multi_label are given for a bundle, which has its own.
        DataError: the labels cannot be read, or their number is not the number of classes.
    """
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder; `ppcls export` makes one")
    names = None
    if labels is not None:
        names = read_label_names(labels) if isinstance(labels, (str, Path)) else list(labels)
    if not describes_itself(folder):
        return _foreign(folder, names, transforms, softmax, bool(multi_label))
    if not is_bundle(folder):
        own = _read_paddleclas(folder / SPEC_FILE)
        top_classes = own.PostProcess.Topk
        return _foreign(
            folder,
            top_classes.label_list if names is None else names,
            own.PreProcess.transform_ops if transforms is None else transforms,
            softmax,
            bool(multi_label),
            top_classes.topk,
        )
    spec = read_bundle(folder)
    if transforms is not None or softmax is not None or multi_label is not None:
        what = "transforms (--transforms) is for models without one"
        if transforms is None and multi_label is not None:
            what = "multi_label (--multi-label) is for models without one"
        elif transforms is None:
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
        names or spec.labels,
        top.topk if top else None,
        spec.threshold,
        spec.Output.scores,
        spec.Output.multi_label,
        bool(spec.Output.features),
    )


def _foreign(
    folder: Path,
    labels: list[str] | None,
    transforms: str | Sequence[Any] | None,
    softmax: bool | None,
    multi_label: bool,
    topk: int = 5,
) -> ModelFacts:
    graphs = (GRAPH_FILE, OLDER_GRAPH_FILE, ONNX_FILE)
    if not any((folder / name).is_file() for name in graphs):
        raise BundleError(
            f"{folder}: not an exported model: it has none of {', '.join(graphs)}; `ppcls export` "
            "makes one"
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
    return ModelFacts(
        pipeline,
        pipeline.normalize,
        labels,
        None if multi_label else topk,
        0.5 if multi_label else 0.0,
        gives_scores,
        multi_label,
        has_features=False,
    )


def _read_paddleclas(path: Path) -> PaddleClasSpec:
    data = load_spec(path)
    problem = "expected a map"
    if isinstance(data, dict):
        try:
            return PaddleClasSpec.model_validate(data)
        except ValidationError as error:
            problem = first_problem(error)
    raise BundleError(
        f"{path}: no schema_version: not written by ppcls, nor by PaddleClas for a classifier: "
        f"{problem}"
    )
