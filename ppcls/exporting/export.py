"""Export of a trained model to a bundle: graphs, weights, transforms, class names, parity check."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import paddle
from filelock import FileLock, Timeout

from ppcls.bundle import (
    GRAPH_FILE,
    OLDER_GRAPH_FILE,
    ONNX_FILE,
    SPEC_FILE,
    WEIGHTS_FILE,
    BundleSpec,
    image_ops_of,
    is_bundle,
    read_bundle,
    write_bundle,
)
from ppcls.checkpoints.weights import load_trained_model
from ppcls.config import Config, dump_config, required
from ppcls.config.class_names import trained_label_names
from ppcls.config.data import refuse_among_images
from ppcls.config.schema import InferOptions, Topk
from ppcls.data.lists import Sample
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.devices import select_device
from ppcls.errors import ConfigError, RunError
from ppcls.exporting.graph import INPUT_NAME, GraphFormat, GraphOptions, write_graph
from ppcls.exporting.input_size import at_size
from ppcls.exporting.onnx import OPSET, require_onnx, write_onnx
from ppcls.exporting.parity import ParityCheck
from ppcls.inference.backends.onnxruntime import OnnxRuntimeBackend
from ppcls.inference.backends.paddle import PaddleBackend
from ppcls.models.catalogue import model_card
from ppcls.spelling import names_options
from ppcls.training.signals import Interrupted, StopRequest
from ppcls.version import __version__

__all__ = ["ExportResult", "export"]

_GRAPH_FILES = {"json": GRAPH_FILE, "pdmodel": OLDER_GRAPH_FILE}
_FILES = {*_GRAPH_FILES.values(), WEIGHTS_FILE, ONNX_FILE}
_WORK = ".export-"
_LOCK = "lock"


_STOPPED = "stopped; nothing is exported"


@dataclass(frozen=True)
class ExportResult:
    """The folder of the exported model, and the contents of its `inference.yml`."""

    folder: Path
    spec: BundleSpec


@names_options
def export(
    config: Config,
    *,
    allow_random: bool = False,
    file_format: GraphFormat = "json",
    input_size: int | tuple[int, int] | None = None,
    softmax: bool = False,
    sigmoid: bool = False,
    features: bool = False,
    uint8_input: bool = False,
    onnx: bool = False,
    check: bool = True,
) -> ExportResult:
    """Export the weights that a configuration names to `Global.save_inference_dir`.

    The graph takes images of `Global.image_shape` in any batch size. A parity check compares every
    graph with the model before the bundle is written, on images of `DataLoader.Eval` if there are
    any, and on random ones. An earlier export in the folder is replaced.

    Args:
        config: names the model, its weights, transforms and class names.
        allow_random: export an untrained model if no weights are named.
        file_format: format of Paddle's graph; `pdmodel` is the older one, for Paddle Lite and older
            versions.
        input_size: another side, or (height, width), of the input; the transforms are scaled with
            it.
        softmax: output probabilities instead of logits.
        sigmoid: the same for a multi-label model.
        features: add the pooled last feature map, (N, C), as a second output.
        uint8_input: take pixels, uint8 (N, H, W, C), and normalise them in the graph.
        onnx: write `inference.onnx` too.
        check: False skips the parity check and marks the bundle as unverified.

    Raises:
        ConfigError: no weights are named and `allow_random` is false, `softmax` or `sigmoid` does
            not fit the model, there is no `Infer` section, its thresholds do not fit the classes,
            its transforms differ from those of the evaluation or do not give `Global.image_shape`,
            the model cannot take that image size, or the output folder holds images.
        WeightsError: the weights cannot be read, or belong to another model.
        DataError: the class names do not fit the model, or an image cannot be read.
        MissingDependencyError: `onnx` is true, and the extra `onnx` is not installed.
        RunError: a graph cannot be made or fails the parity check, or the folder cannot be
            written. An earlier export stays unchanged.
        Stopped: SIGINT or SIGTERM stopped the export, and nothing is exported.
    """
    if not isinstance(config, Config):
        raise ConfigError(f"export takes a Config, as ppcls.load_config returns it, not {config!r}")
    if file_format not in get_args(GraphFormat):
        raise ConfigError(f"file_format is json or pdmodel, not {file_format!r}")
    if onnx:
        require_onnx()
    config = config.deployed()
    activation = _activation(config, softmax, sigmoid)
    infer = required(config.Infer, "Infer", "ppcls export")
    select_device(config.Global.device)
    labels = trained_label_names(config)
    post_process = _post_process(infer, labels)
    pipeline = config.inference_pipeline()
    shape = config.input_shape()
    if input_size is not None:
        pipeline, shape = at_size(pipeline, shape, input_size)
    folder = Path(config.Global.save_inference_dir)
    samples: list[Sample] = []
    if config.DataLoader.Eval and Path(config.DataLoader.Eval.dataset.source).exists():
        samples, _ = config.DataLoader.Eval.dataset.scan(config.Arch.class_num)
    refuse_among_images(folder, config.DataLoader, samples)
    model = load_trained_model(config, "ppcls export", allow_random)
    channels, height, width = shape
    affine = [values.tolist() for values in pipeline.affine]
    options = GraphOptions(
        (channels, height, width),
        activation,
        features,
        affine=(affine[0], affine[1]) if uint8_input else None,
    )
    parity = ParityCheck(config, model, pipeline, options) if check else None

    with _asked_to_stop() as stop, _work_folder(folder) as work:
        # A signal must not raise inside Paddle, which calls Python back, so it takes effect between
        # steps.
        with stop.at_once() if file_format != "json" else nullcontext():
            write_graph(model, options, work, file_format)
        stop.check(_STOPPED)
        files = [_GRAPH_FILES[file_format], WEIGHTS_FILE]
        versions = {"ppcls": __version__, "paddle": paddle.__version__}
        checks = []
        if parity:
            backend = PaddleBackend(work, device=config.Global.device)
            engine = f"Paddle Inference {paddle.__version__}"
            checks.append(parity.check(backend, files[0], engine))
            stop.check(_STOPPED)
        if onnx:
            source = work
            if file_format != "json":
                source = work / "newer"
                source.mkdir()
                write_graph(model, options, source, "json")
            with stop.at_once():
                write_onnx(source, work / ONNX_FILE)
            files.append(ONNX_FILE)
            versions |= {"paddle2onnx": version("paddle2onnx"), "onnx_opset": str(OPSET)}
            if parity:
                runtime = f"ONNX Runtime {OnnxRuntimeBackend.capability().version}"
                checks.append(parity.check(OnnxRuntimeBackend(work), ONNX_FILE, runtime))
        stop.check(_STOPPED)
        spec = {
            "Global": {"model_name": config.Arch.name},
            "card": model_card(config.Arch.name).to_dict(),
            "config_sha256": hashlib.sha256(dump_config(config).encode()).hexdigest(),
            "Input": _input_spec(shape, pipeline, uint8_input),
            "Output": {
                "classes": config.Arch.class_num,
                "task": "multi_label" if config.multi_label else "single_label",
                "softmax": softmax,
                "sigmoid": sigmoid,
                "features": features,
            },
            "PreProcess": {"transform_ops": image_ops_of(pipeline.ops, normalized=not uint8_input)},
            "PostProcess": post_process,
            "parity": parity.record(checks) if parity else {"verified": False},
            "versions": versions,
        }
        write_bundle(work, spec, files)
        _put_in_place(work, folder, files)
    return ExportResult(folder, read_bundle(folder))


def _activation(
    config: Config, softmax: bool, sigmoid: bool
) -> Literal["softmax", "sigmoid"] | None:
    """Return the activation to add to the graph.

    Raises:
        ConfigError: it does not fit the model.
    """
    if config.multi_label and softmax:
        raise ConfigError(
            "softmax (--softmax) is for single-label models; this is a multi-label one: use "
            "sigmoid (--sigmoid)"
        )
    if sigmoid and not config.multi_label:
        raise ConfigError(
            "sigmoid (--sigmoid) is for multi-label models; this is a single-label one: use "
            "softmax (--softmax)"
        )
    return "softmax" if softmax else "sigmoid" if sigmoid else None


def _post_process(infer: InferOptions, labels: list[str]) -> dict[str, Any]:
    """Return the section `PostProcess` of the bundle."""
    post = infer.PostProcess
    if isinstance(post, Topk):
        return {"Topk": {"topk": min(post.topk, len(labels)), "label_list": labels}}
    thresholds = post.thresholds(labels)
    one = len(set(thresholds)) == 1
    threshold = thresholds[0] if one else thresholds
    return {"MultiLabelThreshOutput": {"threshold": threshold, "label_list": labels}}


@contextmanager
def _asked_to_stop() -> Iterator[StopRequest]:
    with StopRequest() as stop:
        try:
            yield stop
        except Interrupted:
            stop.check(_STOPPED)


def _input_spec(shape: list[int], pipeline: Pipeline, uint8_input: bool) -> dict[str, Any]:
    channels, height, width = shape
    graph_shape, dtype, layout = [-1, channels, height, width], "float32", "NCHW"
    low, high = pipeline.affine.bias, pipeline.affine.scale * 255 + pipeline.affine.bias
    values = [float(low.min()), float(high.max())]
    if uint8_input:
        graph_shape, dtype, layout = [-1, height, width, channels], "uint8", "NHWC"
        values = [0.0, 255.0]
    return {
        "name": INPUT_NAME,
        "shape": graph_shape,
        "dtype": dtype,
        "layout": layout,
        "color": {1: "gray", 3: "RGB"}.get(channels, "bands"),
        "range": values,
        "decode": pipeline.image_ops[0],
    }


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    """Yield a work folder inside the bundle; remove those of killed exports.

    Raises:
        RunError: the file system refuses, or the folder holds a graph from elsewhere.
    """
    foreign = [name for name in sorted({*_FILES, SPEC_FILE}) if (folder / name).exists()]
    if foreign and not is_bundle(folder):
        raise RunError(
            f"{folder / foreign[0]}: already exists, and is not an export of ppcls; export to "
            "another folder"
        )
    work, existed = None, folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_WORK}*"):
            _remove_if_left(left)
        # In the same folder, so that renaming does not cross file systems.
        work = Path(tempfile.mkdtemp(prefix=_WORK, dir=folder))
        with FileLock(work / _LOCK):
            yield work
    except OSError as error:
        raise RunError(f"{folder}: cannot write: {error.strerror or error}") from None
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
        if not existed:
            with suppress(OSError):  # not empty after an export, or never created
                folder.rmdir()


def _remove_if_left(work: Path) -> None:
    """Remove the work folder of an export that no longer runs, as nobody holds its lock."""
    try:
        with FileLock(work / _LOCK, timeout=0):
            shutil.rmtree(work, ignore_errors=True)
    except Timeout:
        pass


def _put_in_place(work: Path, folder: Path, files: list[str]) -> None:
    """Move a finished bundle to its place, and remove files that only the earlier one had.

    `inference.yml` moves last. Until then, the folder holds the complete earlier bundle or, for an
    instant, one whose checksums reveal that it is incomplete.
    """
    for name in (*files, SPEC_FILE):
        (work / name).replace(folder / name)
    for name in _FILES - set(files):
        (folder / name).unlink(missing_ok=True)
