"""The exported folder: graph, weights, and `inference.yml`, which says how to use them.

`inference.yml` names the model, describes the input, holds the evaluation transforms and the class
names, and records checksums and how far the graph was from the model it was made from. Nothing
here needs Paddle.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from ppcls.data.transforms import Pipeline, TransformOp
from ppcls.errors import BundleError
from ppcls.files import sha256
from ppcls.options import Options

__all__ = ["GRAPH_FILE", "SPEC_FILE", "WEIGHTS_FILE", "BundleSpec", "read_bundle", "write_bundle"]

SPEC_FILE = "inference.yml"
GRAPH_FILE = "inference.json"
WEIGHTS_FILE = "inference.pdiparams"


class ModelSpec(Options):
    model_name: str


class InputSpec(Options):
    """The graph's input: float32 (N, C, H, W), normalised; N is any."""

    name: str
    shape: Annotated[list[int], Field(min_length=4, max_length=4)]
    dtype: Literal["float32"] = "float32"
    layout: Literal["NCHW"] = "NCHW"


class PreProcess(Options):
    transform_ops: Annotated[list[TransformOp], Field(min_length=1)]


class TopkSpec(Options):
    """How many classes to answer with, and their names, in the order of the graph's outputs."""

    topk: Annotated[int, Field(gt=0)]
    label_list: Annotated[list[str], Field(min_length=1)]


class PostProcess(Options):
    Topk: TopkSpec


class Parity(Options):
    """How the graph compared with the model it was made from.

    Attributes:
        images: number of images compared.
        source: where they came from; `random` where no real ones were at hand.
        max_difference: largest difference of a logit, in standard deviations of the logits.
    """

    images: int
    source: str
    max_difference: float


class BundleSpec(Options):
    """The content of `inference.yml`."""

    schema_version: Literal[1] = 1
    Global: ModelSpec
    Input: InputSpec
    Output: Literal["logits"] = "logits"
    PreProcess: PreProcess
    PostProcess: PostProcess
    parity: Parity
    versions: dict[str, str]
    sha256: dict[str, str]

    def pipeline(self) -> Pipeline:
        """Return the evaluation transforms."""
        return Pipeline(self.PreProcess.transform_ops)


def write_bundle(folder: Path, spec: Mapping[str, Any]) -> BundleSpec:
    """Write `inference.yml` beside a graph and its weights; checksums are taken here.

    Args:
        folder: where the graph and the weights are.
        spec: the fields of `BundleSpec`, without `sha256`.
    """
    checksums = {name: sha256(folder / name) for name in (GRAPH_FILE, WEIGHTS_FILE)}
    complete = BundleSpec.model_validate({**spec, "sha256": checksums})
    text = yaml.safe_dump(
        complete.model_dump(exclude_none=True), sort_keys=False, allow_unicode=True
    )
    (folder / SPEC_FILE).write_text(text, encoding="utf-8")
    return complete


def read_bundle(folder: str | Path) -> BundleSpec:
    """Read and verify an exported folder.

    Raises:
        BundleError: a file is missing or changed since the export, or `inference.yml` is not one
            that this version reads.
    """
    folder = Path(folder)
    path = folder / SPEC_FILE
    if not path.is_file():
        raise BundleError(
            f"{folder}: not an exported model: no {SPEC_FILE} there; `ppcls export` makes one"
        )
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BundleError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != 1:
        raise BundleError(f"{path}: schema_version is {version!r}; this version of ppcls reads 1")
    try:
        spec = BundleSpec.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BundleError(f"{path}: {where}: {first['msg']}; export the model again") from None
    for name, checksum in spec.sha256.items():
        if not (folder / name).is_file():
            raise BundleError(f"{folder / name}: missing from the exported model")
        if sha256(folder / name) != checksum:
            raise BundleError(f"{folder / name}: changed since the export (its checksum differs)")
    return spec
