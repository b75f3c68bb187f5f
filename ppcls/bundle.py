"""The exported folder: graphs, weights, and `inference.yml`, which describes how to use them.

docs/bundle.md specifies the format. This module does not need Paddle.
"""

from __future__ import annotations

import hashlib
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from ppcls.data.transforms.base import TRANSFORMS, TransformOp
from ppcls.data.transforms.normalize import NormalizeImage, ToCHWImage
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.data.transforms.resize_crop import CropImage, DecodeImage, ResizeImage
from ppcls.errors import BundleError, ConfigError
from ppcls.files import sha256
from ppcls.options import Checksum, FileName, Options, first_problem
from ppcls.plugins import Plugin, missing_plugins, plugins_of
from ppcls.printable import printable
from ppcls.registry import follows_registries
from ppcls.thresholds import ClassThresholds
from ppcls.yaml_text import PlainLoader, YamlError, load_yaml, read_text, to_yaml

__all__ = [
    "GRAPH_FILE",
    "OLDER_GRAPH_FILE",
    "ONNX_FILE",
    "SCHEMA_VERSION",
    "SPEC_FILE",
    "WEIGHTS_FILE",
    "BundleSpec",
    "Check",
    "Parity",
    "fingerprint",
    "image_ops_of",
    "is_bundle",
    "is_complete",
    "load_spec",
    "read_bundle",
    "write_bundle",
]

SCHEMA_VERSION: Literal[2] = 2
SPEC_FILE = "inference.yml"
GRAPH_FILE = "inference.json"
OLDER_GRAPH_FILE = "inference.pdmodel"
WEIGHTS_FILE = "inference.pdiparams"
ONNX_FILE = "inference.onnx"


_KNOWN_SIZES = (DecodeImage, ResizeImage, CropImage, NormalizeImage, ToCHWImage)


class ModelSpec(Options):
    model_name: str


class InputSpec(Options):
    """The graph's input.

    Attributes:
        name: name of the input.
        shape: -1 stands for any batch size.
        dtype, layout: float32 NCHW, normalised; or uint8 NHWC, raw pixels.
        color: order of the channels: `RGB`, `gray`, or `bands` in the order of the file.
        range: lowest and highest possible value, over all channels.
        decode: how an image file becomes pixels, before `PreProcess`.
    """

    name: str
    shape: Annotated[list[int], Field(min_length=4, max_length=4)]
    dtype: Literal["float32", "uint8"] = "float32"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    color: Literal["RGB", "gray", "bands"] = "RGB"
    range: Annotated[list[float], Field(min_length=2, max_length=2)]
    decode: DecodeImage = DecodeImage()

    @property
    def channels(self) -> int:
        """Number of channels of an image."""
        return self.shape[1] if self.layout == "NCHW" else self.shape[3]

    @model_validator(mode="after")
    def _one_of_the_two(self) -> InputSpec:
        if (self.dtype, self.layout) not in (("float32", "NCHW"), ("uint8", "NHWC")):
            raise ValueError(f"{self.dtype} {self.layout} is neither float32 NCHW nor uint8 NHWC")
        return self

    @model_validator(mode="after")
    def _decodes_its_channels(self) -> InputSpec:
        decoded = self.decode.channels or 3
        if self.channels not in (-1, decoded):
            raise ValueError(f"decode gives {decoded} channels, but the shape is {self.shape}")
        return self


class OutputSpec(Options):
    """The graph's outputs, float32.

    Attributes:
        classes: number of classes; the first output is (N, classes).
        task: `single_label`, whose scores are the softmax of the logits, or `multi_label`, whose
            scores are the sigmoid of each logit.
        softmax: whether the first output holds these scores instead of logits (single-label).
        sigmoid: the same for a multi-label model.
        features: whether there is a second output, the pooled last feature map (N, C).
    """

    classes: Annotated[int, Field(gt=0)]
    task: Literal["single_label", "multi_label"] = "single_label"
    softmax: bool = False
    sigmoid: bool = False
    features: bool = False

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several classes."""
        return self.task == "multi_label"

    @property
    def scores(self) -> bool:
        """Whether the first output holds scores instead of logits."""
        return self.softmax or self.sigmoid

    @model_validator(mode="after")
    def _its_own_activation(self) -> OutputSpec:
        for name, fits in (("softmax", not self.multi_label), ("sigmoid", self.multi_label)):
            if getattr(self, name) and not fits:
                raise ValueError(f"{name} does not fit task {self.task}")
        return self


@follows_registries
class PreProcess(Options):
    """The evaluation transforms after decoding, in the names and options of PaddleClas."""

    transform_ops: list[TransformOp]


class TopkSpec(Options):
    """How many classes to predict, and their names, in the order of the graph's outputs."""

    topk: Annotated[int, Field(gt=0)]
    label_list: Annotated[list[str], Field(min_length=1)]


class ThresholdSpec(Options):
    """The scores above which an image shows a class, and the names of the classes.

    Attributes:
        threshold: one for all classes, or one for each in the order of the graph's outputs.
    """

    threshold: ClassThresholds
    label_list: Annotated[list[str], Field(min_length=1)]


class PostProcess(Options):
    """One of the two: `Topk` of a single-label, `MultiLabelThreshOutput` of a multi-label model.

    PaddleClas and PaddleX have both names.
    """

    Topk: TopkSpec | None = None
    MultiLabelThreshOutput: ThresholdSpec | None = None


class Check(Options):
    """The parity check of one graph against the model.

    Attributes:
        file: the graph.
        engine: the inference engine and its version.
        max_difference: largest difference of a logit over the images of the data set, in standard
            deviations of the logits; None without such images.
        max_difference_random: the same over random images.
    """

    file: str
    engine: str
    max_difference: float | None = None
    max_difference_random: float


class Parity(Options):
    """The parity checks of the graphs against the exported model.

    Attributes:
        verified: False if the check was skipped (`--no-check`).
        images: number of data set images compared.
        source: the image list; `random` if no data set was used.
        random_images: number of random images compared.
        tolerance: the allowed difference.
        checks: one for each graph.
    """

    verified: bool
    images: int = 0
    source: str = "random"
    random_images: int = 0
    tolerance: float | None = None
    checks: list[Check] = []

    @property
    def max_difference(self) -> float:
        """The largest difference of all checks, in standard deviations of the logits."""
        found = [d for c in self.checks for d in (c.max_difference, c.max_difference_random)]
        return max((d for d in found if d is not None), default=0.0)


@follows_registries
class BundleSpec(Options):
    """The content of `inference.yml`.

    Attributes:
        card: the architecture's model card.
        config_sha256: SHA-256 of the configuration, as `dump_config` writes it.
        precision: data type of the stored weights.
        versions: versions of the software that exported the bundle.
        files: the SHA-256 of each other file.
        plugins: the user modules that define the transforms.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    Global: ModelSpec
    card: dict[str, Any]
    config_sha256: Checksum
    precision: Literal["fp32"] = "fp32"
    Input: InputSpec
    Output: OutputSpec
    parity: Parity
    versions: dict[str, str]
    files: dict[FileName, Checksum]
    plugins: list[Plugin] = []
    PreProcess: PreProcess
    PostProcess: PostProcess

    @model_validator(mode="after")
    def _post_process_fits_the_output(self) -> BundleSpec:
        key = "MultiLabelThreshOutput" if self.Output.multi_label else "Topk"
        found = self.PostProcess.model_dump(exclude_none=True)
        if list(found) != [key]:
            raise ValueError(
                f"PostProcess has {' and '.join(found) or 'no entry'}; Output.task "
                f"{self.Output.task} needs {key}"
            )
        lists = {"label_list": (self.labels, "names")}
        threshold = found[key].get("threshold")
        if isinstance(threshold, list):
            lists["threshold"] = (threshold, "entries")
        for name, (values, what) in lists.items():
            if len(values) != self.Output.classes:
                raise ValueError(
                    f"PostProcess.{key}.{name} has {len(values)} {what}, but the graph outputs "
                    f"{self.Output.classes} classes"
                )
        return self

    @model_validator(mode="after")
    def _transforms_give_the_input(self) -> BundleSpec:
        # Found here, a size that is not the graph's takes no memory. The sizes that other
        # transforms give are known only when they run.
        ops = self.PreProcess.transform_ops
        if not all(isinstance(op, _KNOWN_SIZES) for op in ops):
            return self
        resizing = [op for op in ops if isinstance(op, (ResizeImage, CropImage))]
        size = next((op.size for op in reversed(resizing) if op.size is not None), None)
        sides = [size, size] if isinstance(size, int) else size and size[::-1]
        at = self.Input.layout.index("H")
        expected = self.Input.shape[at : at + 2]
        if not resizing or (sides and sides != expected):
            raise ValueError(
                f"PreProcess.transform_ops give {sides or 'images of any height and width'}, but "
                f"Input.shape has height and width {expected}"
            )
        return self

    @model_validator(mode="after")
    def _transforms_fit_together(self) -> BundleSpec:
        try:
            self.pipeline()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def labels(self) -> list[str]:
        """The class names, in the order of the graph's outputs."""
        spec = self.PostProcess.Topk or self.PostProcess.MultiLabelThreshOutput
        return spec.label_list if spec else []

    @property
    def threshold(self) -> float | list[float]:
        """The score that a class of a result exceeds, or one for each class; 0 if single-label."""
        spec = self.PostProcess.MultiLabelThreshOutput
        return spec.threshold if spec else 0.0

    def pipeline(self) -> Pipeline:
        """Return the evaluation transforms, decoding included."""
        return Pipeline([self.Input.decode, *self.PreProcess.transform_ops])

    def preparation(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return the function from transformed images, uint8 (N, H, W, C), to the graph's input."""
        if self.Input.dtype == "uint8":
            return np.ascontiguousarray
        return self.pipeline().normalize


def image_ops_of(ops: Sequence[Any], *, normalized: bool) -> list[dict[str, Any]]:
    """Return evaluation transforms in the form of `PreProcess.transform_ops`.

    PaddleClas and PaddleX read this list after they have decoded the image themselves. The list
    therefore omits `DecodeImage` and options with default values, and spells out normalisation in
    full.

    Args:
        ops: the transforms, starting with `DecodeImage`.
        normalized: False to omit `NormalizeImage` and `ToCHWImage` because the graph normalises.
    """
    listed = []
    for op in ops:
        if isinstance(op, (DecodeImage, NormalizeImage, ToCHWImage)):
            continue
        listed.append(op.model_dump(exclude_defaults=True, exclude_none=True))
        if getattr(op, "backend", None) == "cv2" and op.interpolation == "bilinear":
            # PaddleClas calls it `bilinear`, PaddleX `LINEAR`; it is the default of both.
            next(iter(listed[-1].values())).pop("interpolation", None)
    if normalized:
        for op in ops:
            if isinstance(op, NormalizeImage):
                # Their default order is CHW; an empty order means HWC.
                said = {"scale": op.scale, "mean": op.mean, "std": op.std, "order": ""}
                others = op.model_dump(exclude_defaults=True)["NormalizeImage"]
                listed.append({"NormalizeImage": others | said})
        listed.append({"ToCHWImage": None})
    return listed


def is_bundle(folder: str | Path) -> bool:
    """Whether a folder has an `inference.yml` of ppcls, which states the version of its schema."""
    try:
        text = (Path(folder) / SPEC_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return re.search(r"""^[{\s]*["']?schema_version["']?\s*:""", text, re.MULTILINE) is not None


def fingerprint(folder: str | Path) -> str:
    """Return a bundle's hexadecimal fingerprint: the digest of its `inference.yml`.

    `inference.yml` holds the checksums of all other files.
    """
    return hashlib.sha256((Path(folder) / SPEC_FILE).read_bytes()).hexdigest()


def write_bundle(folder: Path, spec: Mapping[str, Any], files: Sequence[str]) -> BundleSpec:
    """Write `inference.yml` with the checksums of the bundle's other files.

    Args:
        folder: the folder of the files.
        spec: the fields of `BundleSpec`, without `files`.
        files: the names of the files.
    """
    checksums = {name: sha256(folder / name) for name in files}
    complete = BundleSpec.model_validate({**spec, "files": checksums})
    plugins = plugins_of(type(op) for op in complete.PreProcess.transform_ops)
    complete = complete.model_copy(update={"plugins": plugins})
    data = complete.model_dump(exclude_none=True)
    if not plugins:
        del data["plugins"]
    # Keep the transforms as given: shorter, and other tools understand them.
    data["PreProcess"] = spec["PreProcess"]
    text = to_yaml(data, width=2**31 - 1)
    (folder / SPEC_FILE).write_text(text, encoding="utf-8")
    return complete


def _check_plugins(listed: Any, path: Path) -> None:
    """Refuse a bundle with transforms of a missing plug-in; name the plug-in."""
    try:
        plugins = [Plugin.model_validate(entry) for entry in listed]
    except (TypeError, ValidationError):
        return  # the schema reports the error
    for plugin in missing_plugins(plugins, TRANSFORMS.names):
        version = f" {plugin.version}" if plugin.version else ""
        raise BundleError(
            f"{path}: the transforms {', '.join(plugin.classes)} need the plug-in "
            f"{plugin.name}{version}, which "
            + (
                "is loaded and does not register them (any more)"
                if plugin.name in sys.modules
                else f"is not loaded; load it with --plugin {plugin.name}, or `import "
                f"{plugin.name}` in Python"
            )
        )
    now = {plugin.name: plugin for plugin in plugins_of(TRANSFORMS.classes)}
    for plugin in plugins:
        if plugin.name in now and now[plugin.name].sha256 != plugin.sha256:
            text = f"{path}: the plug-in {plugin.name} has changed since the export: predictions"
            warnings.warn(
                printable(f"{text} may differ"),
                stacklevel=4,
            )


def load_spec(path: Path) -> Any:
    """Return the plain data of an `inference.yml`, of ppcls or of PaddleClas.

    Raises:
        BundleError: it cannot be read, or is not YAML.
    """
    try:
        # YAML 1.1, which the other readers of a bundle and earlier versions of ppcls use.
        data, _ = load_yaml(read_text(path), PlainLoader)
    except YamlError as error:
        raise BundleError(f"{path}:{error.line}: {error}") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from None
    return data


def _read_spec(path: Path) -> BundleSpec:
    data = load_spec(path)
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version is None:
        raise BundleError(
            f"{path}: no schema_version: not written by ppcls, or not an exported model"
        )
    if version != SCHEMA_VERSION:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        way_out = "it needs a newer ppcls" if newer else "export the model again"
        raise BundleError(
            f"{path}: schema_version is {version!r}; this version of ppcls reads "
            f"{SCHEMA_VERSION}: {way_out}"
        )
    _check_plugins(data.get("plugins", []), path)
    try:
        return BundleSpec.model_validate(data)
    except ValidationError as error:
        raise BundleError(f"{path}: {first_problem(error)}; export the model again") from None


def read_bundle(folder: str | Path) -> BundleSpec:
    """Read and verify an exported folder.

    Raises:
        BundleError: a file is missing or has changed since the export, the numbers of class names
            and classes differ, or this version cannot read `inference.yml`.
    """
    folder = Path(folder)
    path = folder / SPEC_FILE
    if not path.is_file():
        raise BundleError(
            f"{folder}: not an exported model: it has no {SPEC_FILE}; `ppcls export` makes one"
        )
    spec = _read_spec(path)
    for name in (GRAPH_FILE, OLDER_GRAPH_FILE, WEIGHTS_FILE, ONNX_FILE):
        if name not in spec.files and (folder / name).exists():
            raise BundleError(
                f"{folder / name}: not listed in {SPEC_FILE}, so not of this export; remove it"
            )
    for name, checksum in spec.files.items():
        if not (folder / name).is_file():
            raise BundleError(f"{folder / name}: missing from the exported model")
        try:
            found = sha256(folder / name)
        except OSError as error:
            raise BundleError(f"{folder / name}: cannot be read: {error.strerror}") from None
        if found != checksum:
            raise BundleError(f"{folder / name}: changed since the export (its checksum differs)")
    return spec


def is_complete(folder: str | Path) -> bool:
    """Whether a folder holds a whole bundle of a version that this one reads."""
    try:
        read_bundle(folder)
    except BundleError:
        return False
    return True
