"""TensorRT through Paddle Inference on an NVIDIA GPU. Not yet run on one: see docs/tensorrt.md.

What is to be done is decided by `plan`, which computes from plain values and is tested; `open_` and
the rest only carry it out. An engine takes minutes to build and fits one GPU, one version and one
range of shapes, so it is kept on disk under a name made from all of these.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from filelock import FileLock
from pydantic import Field, model_validator

from ppcls.bundle import GRAPH_FILE, OLDER_GRAPH_FILE, WEIGHTS_FILE, read_bundle
from ppcls.devices import gpu_count
from ppcls.errors import RunError, require_paddle
from ppcls.files import cache_home, sha256
from ppcls.inference.backends.base import Capability, Precision, installed, require
from ppcls.inference.backends.paddle import (
    PaddleRunner,
    load_config,
    open_predictor,
)
from ppcls.options import Options

__all__ = ["Call", "TensorRTBackend", "TensorRTOptions", "TensorRTPlan", "plan"]

_WHEEL = (
    "install a GPU wheel of Paddle's own index (https://www.paddlepaddle.org.cn/packages/stable/"
    "cu126/) with TensorRT 10.5 beside it, or use the image "
    "paddlepaddle/paddle:3.0.0-gpu-cuda12.6-cudnn9.5-trt10.5"
)
_GPU_POOL_MB = 256
_MIN_SUBGRAPH = 3
"""Smaller groups of operators stay with Paddle: handing them over costs more than they gain."""

Count = Annotated[int, Field(gt=0)]


class TensorRTOptions(Options):
    """What an engine is built for.

    Attributes:
        min_batch, opt_batch, max_batch: smallest, usual and largest number of images at once; the
            engine is fastest at the usual one and refuses what is outside.
        workspace_mb: memory of the GPU that building may use, in MiB.
        cache: folder to keep engines in; None is `tensorrt` in the cache of ppcls.
    """

    min_batch: Count = 1
    opt_batch: Count = 8
    max_batch: Count = 32
    workspace_mb: Count = 1024
    cache: str | None = None

    @model_validator(mode="after")
    def _ordered(self) -> TensorRTOptions:
        if not self.min_batch <= self.opt_batch <= self.max_batch:
            raise ValueError(
                "expected min_batch <= opt_batch <= max_batch, found "
                f"{self.min_batch}, {self.opt_batch} and {self.max_batch}"
            )
        return self


class Call(NamedTuple):
    """A call of a method of `paddle.inference.Config`, in this order, with these arguments."""

    method: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class TensorRTPlan:
    """What is to be done for an engine.

    Attributes:
        folder: where the engine is kept, with all that it was made for in its name.
        shapes: of the input: smallest, usual and largest.
        dtype: of the input.
        convert: arguments of `paddle.tensorrt.TensorRTConfig` (the newer format; its `inputs` are
            `shapes`); None for the older one.
        collect: calls for a first run, which records the shapes inside the network (the older
            format); empty for the newer one.
        run: calls for the runs after that.
    """

    folder: Path
    shapes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    dtype: str
    convert: dict[str, Any] | None
    collect: tuple[Call, ...]
    run: tuple[Call, ...]


def plan(
    options: TensorRTOptions,
    *,
    is_pir: bool,
    graph_hash: str,
    image_shape: tuple[int, ...],
    dtype: str,
    precision: Precision,
    versions: dict[str, str],
    gpu: str,
    cache: Path,
) -> TensorRTPlan:
    """Decide how to run a graph with TensorRT.

    Args:
        options: of the user.
        is_pir: whether the graph is in the newer format (`inference.json`).
        graph_hash: checksum of the graph and its weights.
        image_shape: of one image as the graph takes it, without the batch.
        dtype: of the images.
        precision: what to compute in.
        versions: of Paddle and TensorRT.
        gpu: its name.
        cache: where engines are kept.
    """
    batches = (options.min_batch, options.opt_batch, options.max_batch)
    small, usual, large = ((batch, *image_shape) for batch in batches)
    made_for = {
        "graph": graph_hash,
        "shapes": [small, usual, large],
        "precision": precision,
        "workspace_mb": options.workspace_mb,
        "versions": dict(sorted(versions.items())),
        "gpu": gpu,
    }
    key = hashlib.sha256(json.dumps(made_for, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache / key
    on_gpu = Call("enable_use_gpu", {"memory_pool_init_size_mb": _GPU_POOL_MB, "device_id": 0})
    workspace = options.workspace_mb << 20
    if is_pir:
        convert = {
            "precision_mode": precision.upper(),
            "min_subgraph_size": _MIN_SUBGRAPH,
            "workspace_size": workspace,
            "save_model_dir": str(folder / "inference"),
        }
        return TensorRTPlan(folder, (small, usual, large), dtype, convert, (), (on_gpu,))
    recorded = str(folder / "shapes.pbtxt")
    engine = Call(
        "enable_tensorrt_engine",
        {
            "workspace_size": workspace,
            "max_batch_size": options.max_batch,
            "min_subgraph_size": _MIN_SUBGRAPH,
            "precision_mode": {"fp32": "Float32", "fp16": "Half"}[precision],
            "use_static": True,
            "use_calib_mode": False,
        },
    )
    tuned = Call(
        "enable_tuned_tensorrt_dynamic_shape",
        {"shape_range_info_path": recorded, "allow_build_at_runtime": True},
    )
    kept = Call("set_optim_cache_dir", {"opt_cache_dir": str(folder)})
    collect = Call("collect_shape_range_info", {"shape_range_info_path": recorded})
    shapes = (small, usual, large)
    run = (on_gpu, engine, tuned, kept)
    return TensorRTPlan(folder, shapes, dtype, None, (on_gpu, collect), run)


def _apply(calls: tuple[Call, ...], config: Any) -> None:
    from paddle.inference import PrecisionType

    for method, arguments in calls:
        named = dict(arguments)
        if "precision_mode" in named:
            named["precision_mode"] = getattr(PrecisionType, named["precision_mode"])
        # Paddle's bindings name few of their arguments: the order is that of its documentation.
        getattr(config, method)(*named.values())


class TensorRTBackend:
    """TensorRT inside Paddle Inference; one inference at a time, whichever thread asks.

    Args:
        folder: the bundle.
        device: `gpu`.
        precision: `fp32`, `fp16`, or `bf16` (the newer graph format alone).
        tensorrt: what the engine is built for.

    Raises:
        RunError: this Paddle has no TensorRT, or no GPU.
        BundleError: there is no graph for it.
    """

    name: ClassVar[str] = "tensorrt"

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "gpu",
        precision: Precision = "fp32",
        tensorrt: TensorRTOptions | None = None,
    ):
        if hint := _unusable():
            raise RunError(hint)
        import paddle

        folder, options = Path(folder), tensorrt or TensorRTOptions()
        spec = read_bundle(folder)
        graph = require(
            folder, (GRAPH_FILE, OLDER_GRAPH_FILE), "TensorRT", "`ppcls export` writes one"
        )
        is_pir = graph.name == GRAPH_FILE
        if precision == "bf16" and not is_pir:
            raise RunError("TensorRT computes in bf16 only from a graph of the newer format")
        cache = Path(options.cache).expanduser() if options.cache else cache_home() / "tensorrt"
        todo = plan(
            options,
            is_pir=is_pir,
            graph_hash=sha256(graph) + sha256(folder / WEIGHTS_FILE),
            image_shape=tuple(spec.Input.shape[1:]),
            dtype=spec.Input.dtype,
            precision=precision,
            versions={"paddle": paddle.__version__, "tensorrt": _tensorrt_version()},
            gpu=paddle.device.cuda.get_device_name(0),
            cache=cache,
        )
        todo.folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{todo.folder}.lock"):  # another process may be at the same engine
            if is_pir:
                _convert(graph, todo)
            else:
                _record_shapes(folder, todo)
        graph_folder = todo.folder if is_pir else folder
        config = load_config(graph_folder, graph.name, backend="TensorRT", remedy="")
        _apply(todo.run, config)
        self._runner = PaddleRunner(config, graph_folder)
        self._batches = options.min_batch, options.max_batch

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Map images as the network takes them, (N, ...), to its first output, float32 (N, C)."""
        self._check(batch)
        return self._runner.run(batch)

    def run_all(self, batch: np.ndarray) -> list[np.ndarray]:
        """Map images as the network takes them, (N, ...), to all of its outputs, float32."""
        self._check(batch)
        return self._runner.run_all(batch)

    def _check(self, batch: np.ndarray) -> None:
        least, most = self._batches
        if not least <= len(batch) <= most:
            raise RunError(
                f"a batch of {len(batch)} images, and the TensorRT engine is built for {least} to "
                f"{most}: choose another batch size, or another min_batch and max_batch"
            )

    @classmethod
    def capability(cls) -> Capability:
        """Say what it can do on this machine."""
        version = installed("paddlepaddle-gpu", "paddlepaddle")
        if version is None:
            return Capability(None, hint=f"PaddlePaddle is not installed: {_WHEEL}")
        if hint := _unusable():
            return Capability(None, hint=hint)
        precisions = {"gpu": ["fp32", "fp16", "bf16"]}
        options = {"gpu": ("tensorrt",)}
        return Capability(_tensorrt_version(), precisions, (GRAPH_FILE, OLDER_GRAPH_FILE), options)


def _tensorrt_version() -> str:
    from paddle.inference import get_trt_compile_version

    return ".".join(map(str, get_trt_compile_version()))


def _unusable() -> str:
    """Return in one line why TensorRT cannot be used here, or an empty text."""
    require_paddle()
    import paddle

    if _tensorrt_version() == "0.0.0":
        return f"PaddlePaddle {paddle.__version__} as installed has no TensorRT: {_WHEEL}"
    if not gpu_count():
        return f"PaddlePaddle {paddle.__version__} finds no NVIDIA GPU, which TensorRT needs"
    return ""


def _convert(graph: Path, todo: TensorRTPlan) -> None:
    """Write the graph with its engine into the cache, unless it is there."""
    if (todo.folder / GRAPH_FILE).is_file() or todo.convert is None:
        return
    from paddle.tensorrt import Input, PrecisionMode, TensorRTConfig, convert

    small, usual, large = todo.shapes
    shape = Input(
        min_input_shape=small,
        optim_input_shape=usual,
        max_input_shape=large,
        input_data_type=todo.dtype,
    )
    # Others see the folder only when all of it is there.
    work = todo.folder.with_name(f".{todo.folder.name}.{os.getpid()}")
    work.mkdir(parents=True, exist_ok=True)
    arguments = todo.convert | {
        "precision_mode": PrecisionMode[todo.convert["precision_mode"]],
        "save_model_dir": str(work / "inference"),
    }
    try:
        convert(str(graph.with_suffix("")), TensorRTConfig(inputs=[shape], **arguments))
        work.rename(todo.folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _record_shapes(folder: Path, todo: TensorRTPlan) -> None:
    """Run the smallest, usual and largest batch once, so that Paddle knows all shapes inside."""
    (_, recorded) = todo.collect
    if Path(recorded.arguments["shape_range_info_path"]).is_file():
        return
    todo.folder.mkdir(parents=True, exist_ok=True)
    config = load_config(folder, OLDER_GRAPH_FILE, backend="TensorRT", remedy="")
    _apply(todo.collect, config)
    predictor = open_predictor(config, folder)
    handle = predictor.get_input_handle(predictor.get_input_names()[0])
    for shape in todo.shapes:
        handle.reshape(shape)
        handle.copy_from_cpu(np.zeros(shape, todo.dtype))
        predictor.run()
