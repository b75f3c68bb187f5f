"""From a trained model to a bundle: graphs, weights, transforms, class names, proof."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np
import paddle
from filelock import FileLock, Timeout

import ppcls
from ppcls.arch.layers import ImageClassifier
from ppcls.bundle import (
    GRAPH_FILE,
    OLDER_GRAPH_FILE,
    ONNX_FILE,
    SPEC_FILE,
    WEIGHTS_FILE,
    BundleSpec,
    image_ops_of,
    read_bundle,
    write_bundle,
)
from ppcls.cards import model_card
from ppcls.config import Config, dump_config
from ppcls.data.lists import class_names
from ppcls.data.transforms import Pipeline
from ppcls.engine.setup import load_trained_model, require, select_device
from ppcls.errors import ConfigError, RunError
from ppcls.exporter import parity
from ppcls.exporter.images import Images, random_images, real_images, resized
from ppcls.exporter.onnx import OPSET, require_onnx, write_onnx
from ppcls.exporter.static_graph import INPUT_NAME, GraphFormat, GraphOptions, write_graph
from ppcls.inference.backends import Backend
from ppcls.inference.backends.eager import EagerBackend
from ppcls.inference.backends.onnxruntime import OnnxRuntimeBackend
from ppcls.inference.backends.paddle import PaddleBackend

__all__ = ["ExportResult", "export"]

_GRAPH_FILES = {"json": GRAPH_FILE, "pdmodel": OLDER_GRAPH_FILE}
_FILES = {*_GRAPH_FILES.values(), WEIGHTS_FILE, ONNX_FILE}
_WORK = ".export-"
_LOCK = "lock"


@dataclass(frozen=True)
class ExportResult:
    """Where the exported model is, and what its `inference.yml` says."""

    folder: Path
    spec: BundleSpec


def export(
    config: Config,
    *,
    allow_random: bool = False,
    file_format: GraphFormat = "json",
    input_size: int | tuple[int, int] | None = None,
    softmax: bool = False,
    uint8_input: bool = False,
    onnx: bool = False,
    check: bool = True,
) -> ExportResult:
    """Export the weights that a configuration names to `Global.save_inference_dir`.

    The graph takes any batch size, of images with `Global.image_shape`. The bundle is written only
    after every graph in it has given the model's own logits: on images of `DataLoader.Eval` where
    there are some, and on random ones. An earlier export there is replaced.

    Args:
        config: names the model, its weights, transforms and class names.
        allow_random: go on with untrained weights where none are named.
        file_format: of Paddle's graph; `pdmodel` is the older one, which OpenVINO inside Paddle,
            Paddle Lite and older versions read.
        input_size: side, or (height, width), of the images to take instead; the transforms are
            scaled with it.
        softmax: answer with probabilities instead of logits.
        uint8_input: take pixels, uint8 (N, H, W, 3), and normalise them in the graph.
        onnx: write `inference.onnx` too.
        check: False to leave out the comparison, and mark the bundle as unverified.

    Raises:
        ConfigError: no weights are named (`allow_random` does without), no `Infer` section, its
            transforms are not those of the evaluation, `Global.image_shape` is not what they give,
            or the model cannot take images of that size.
        WeightsError: the weights cannot be read or are made for another model.
        DataError: the class names do not fit the model, or an image cannot be read.
        MissingDependencyError: the extra `onnx` is not installed, and asked for.
        RunError: a graph disagrees with the model, cannot be made, or the folder cannot be
            written. What was there before stays as it was.
    """
    if file_format not in get_args(GraphFormat):
        raise ConfigError(f"file_format is json or pdmodel, not {file_format!r}")
    if onnx:
        require_onnx()
    config = _at_size(config, input_size)
    infer = require(config.Infer, "Infer", "ppcls export")
    select_device(config.Global.device)
    labels = class_names(infer.PostProcess.class_id_map_file, config.Arch.class_num)
    pipeline = Pipeline(infer.transforms)
    if config.DataLoader.Eval:
        _check_same(pipeline, Pipeline(config.DataLoader.Eval.dataset.transform_ops))
    noise = random_images(config, pipeline)
    model = load_trained_model(config, "ppcls export", allow_random)
    channels, height, width = config.Global.image_shape
    affine = [values.tolist() for values in pipeline.affine]
    options = GraphOptions(
        (channels, height, width), softmax, affine=(affine[0], affine[1]) if uint8_input else None
    )
    proof = _Proof(config, model, pipeline, noise, options) if check else None

    folder = Path(config.Global.save_inference_dir)
    with _work_folder(folder) as work:
        write_graph(model, options, work, file_format)
        files = [_GRAPH_FILES[file_format], WEIGHTS_FILE]
        versions = {"ppcls": ppcls.__version__, "paddle": paddle.__version__}
        checks = []
        if proof:
            backend = PaddleBackend(work, device=config.Global.device)
            engine = f"Paddle Inference {paddle.__version__}"
            checks.append(proof.check(backend, files[0], engine))
        if onnx:
            source = work
            if file_format != "json":
                source = work / "newer"
                source.mkdir()
                write_graph(model, options, source, "json")
            write_onnx(source, work / ONNX_FILE)
            files.append(ONNX_FILE)
            versions |= {"paddle2onnx": version("paddle2onnx"), "onnx_opset": str(OPSET)}
            if proof:
                runtime = f"ONNX Runtime {version('onnxruntime')}"
                checks.append(proof.check(OnnxRuntimeBackend(work), ONNX_FILE, runtime))
        spec = {
            "Global": {"model_name": config.Arch.name},
            "card": model_card(config.Arch.name).to_dict(),
            "config_sha256": hashlib.sha256(dump_config(config).encode()).hexdigest(),
            "Input": _input_spec(config, pipeline, uint8_input),
            "Output": {"classes": config.Arch.class_num, "softmax": softmax},
            "PreProcess": {
                "transform_ops": image_ops_of(infer.transforms, normalized=not uint8_input)
            },
            "PostProcess": {
                "Topk": {"topk": min(infer.PostProcess.topk, len(labels)), "label_list": labels}
            },
            "parity": proof.record(checks) if proof else {"verified": False},
            "versions": versions,
        }
        write_bundle(work, spec, files)
        _put_in_place(work, folder, files)
    return ExportResult(folder, read_bundle(folder))


def _at_size(config: Config, size: int | tuple[int, int] | None) -> Config:
    """Return the configuration with its images and transforms at another size."""
    if size is None:
        return config
    new = (size, size) if isinstance(size, int) else size
    channels, *old = config.Global.image_shape
    if min(new) < 1 or len(new) != 2:
        raise ConfigError(f"the input size is a side or (height, width) in pixels, not {size}")

    def at_size(ops: Any) -> list[Any]:
        return resized(ops, (old[0], old[1]), new)

    update: dict[str, Any] = {
        "Global": config.Global.model_copy(update={"image_shape": [channels, *new]})
    }
    if config.Infer:
        transforms = at_size(config.Infer.transforms)
        update["Infer"] = config.Infer.model_copy(update={"transforms": transforms})
    if data := config.DataLoader.Eval:
        ops = at_size(data.dataset.transform_ops)
        dataset = data.dataset.model_copy(update={"transform_ops": ops})
        data = data.model_copy(update={"dataset": dataset})
        update["DataLoader"] = config.DataLoader.model_copy(update={"Eval": data})
    return config.model_copy(update=update)


def _check_same(exported: Pipeline, evaluated: Pipeline) -> None:
    """Refuse to export other transforms than the model was evaluated with."""
    same_affine = all(
        np.array_equal(a, b) for a, b in zip(exported.affine, evaluated.affine, strict=True)
    )
    if exported.image_ops != evaluated.image_ops or not same_affine:
        raise ConfigError(
            "Infer.transforms differ from DataLoader.Eval.dataset.transform_ops: what is exported "
            "must be what was evaluated; make them the same"
        )


def _input_spec(config: Config, pipeline: Pipeline, uint8_input: bool) -> dict[str, Any]:
    channels, height, width = config.Global.image_shape
    shape, dtype, layout = [-1, channels, height, width], "float32", "NCHW"
    low, high = pipeline.affine.bias, pipeline.affine.scale * 255 + pipeline.affine.bias
    values = [float(low.min()), float(high.max())]
    if uint8_input:
        shape, dtype, layout, values = [-1, height, width, channels], "uint8", "NHWC", [0.0, 255.0]
    return {
        "name": INPUT_NAME,
        "shape": shape,
        "dtype": dtype,
        "layout": layout,
        "range": values,
        "decode": pipeline.image_ops[0],
    }


class _Proof:
    """What the model itself answers, to hold each graph against.

    The model answers before it is traced: what is proven is that tracing changed nothing.
    """

    def __init__(
        self,
        config: Config,
        model: ImageClassifier,
        pipeline: Pipeline,
        noise: Images,
        options: GraphOptions,
    ):
        self._softmax, self._pixels = options.softmax, options.affine is not None
        self._normalize, self._noise = pipeline.normalize, noise
        # Random images go through one at a time, so that the graphs run with two batch sizes.
        self._batches = {"images": config.Infer.batch_size if config.Infer else 1, "noise": 1}
        found = real_images(config, pipeline)
        self._images, self._source = found if found else (None, "random")
        if not found and config.DataLoader.Eval:
            dataset = config.DataLoader.Eval.dataset
            print(
                f"no {dataset.cls_label_path} here: the export is checked on random images alone",
                file=sys.stderr,
            )
        eager = EagerBackend(model)
        try:
            self._expected_noise = self._answers(eager.run, noise, "noise", "model")
        except (ValueError, RuntimeError, OSError) as error:
            size = "x".join(str(side) for side in reversed(options.shape[1:]))
            reason = str(error).strip().splitlines()[-1].strip()
            raise ConfigError(f"{model.name} cannot take {size} images: {reason}") from None
        self._expected = None
        if self._images:
            self._expected = self._answers(eager.run, self._images, "images", "model")
        for logits in (self._expected_noise, self._expected):
            if logits is not None and not np.isfinite(logits).all():
                raise RunError("the model itself answers with numbers that are not finite")

    def _answers(self, run: Any, images: Images, kind: str, what: str) -> np.ndarray:
        def run_pixels(pixels: np.ndarray) -> np.ndarray:
            return run(self._normalize(pixels))

        return parity.compute(run_pixels, images.pixels, self._batches[kind], what)

    def _compare(
        self, backend: Backend, images: Images, expected: np.ndarray, kind: str, graph: str
    ) -> float:
        if self._pixels:
            found = parity.compute(backend.run, images.pixels, self._batches[kind], graph)
        else:
            found = self._answers(backend.run, images, kind, graph)
        std = float(expected.std())
        if self._softmax:
            # Equal up to one number for each image, which softmax takes away.
            found = parity.log_probabilities(found, softmax=True)
            expected = parity.log_probabilities(expected, softmax=False)
        return parity.compare_logits(expected, found, std).require(images.names, graph)

    def check(self, backend: Backend, file: str, engine: str) -> dict[str, Any]:
        """Compare a graph with the model and return the record of it.

        Raises:
            RunError: it answers differently.
        """
        record: dict[str, Any] = {"file": file, "engine": engine}
        graph = f"{file}, run by {engine},"
        if self._images is not None and self._expected is not None:
            record["max_difference"] = self._compare(
                backend, self._images, self._expected, "images", graph
            )
        record["max_difference_random"] = self._compare(
            backend, self._noise, self._expected_noise, "noise", graph
        )
        return record

    def record(self, checks: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the fields of `bundle.Parity`."""
        return {
            "verified": True,
            "images": len(self._images.names) if self._images else 0,
            "source": self._source,
            "random_images": len(self._noise.names),
            "tolerance": parity.TOLERANCE,
            "checks": checks,
        }


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    """Give a folder inside the bundle to write to; what a killed export left there goes.

    Raises:
        RunError: the file system refuses, or the folder holds a graph that is not ours.
    """
    foreign = [name for name in sorted(_FILES) if (folder / name).exists()]
    if foreign and not (folder / SPEC_FILE).exists():
        raise RunError(f"{folder / foreign[0]}: there already, and no export of ppcls")
    work, existed = None, folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_WORK}*"):
            _remove_if_left(left)
        # Beside the final place, so that renaming moves nothing across file systems.
        work = Path(tempfile.mkdtemp(prefix=_WORK, dir=folder))
        with FileLock(work / _LOCK):
            yield work
    except OSError as error:
        raise RunError(f"{folder}: cannot write: {error.strerror or error}") from None
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
        if not existed:
            with suppress(OSError):  # what was exported is in it, or it was never made
                folder.rmdir()


def _remove_if_left(work: Path) -> None:
    """Remove the folder of an export that no longer runs: nobody holds its lock."""
    try:
        with FileLock(work / _LOCK, timeout=0):
            shutil.rmtree(work, ignore_errors=True)
    except Timeout:
        pass


def _put_in_place(work: Path, folder: Path, files: list[str]) -> None:
    """Move a finished bundle to its place, and remove what the earlier one had and this has not.

    `inference.yml` goes last: until then the bundle there is an old one that is whole or, for an
    instant, one whose checksums say that it is not.
    """
    for name in (*files, SPEC_FILE):
        (work / name).replace(folder / name)
    for name in _FILES - set(files):
        (folder / name).unlink(missing_ok=True)
