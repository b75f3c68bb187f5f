"""TensorRT through Paddle Inference on an NVIDIA GPU. Not yet run on one: see docs/tensorrt.md.

An engine takes minutes to build and fits one GPU, one version and one range of shapes. So it is
stored on disk, under a name made from all of these.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from pydantic import model_validator

from ppcls.bundle import GRAPH_FILE, WEIGHTS_FILE, read_bundle
from ppcls.devices import gpu_count
from ppcls.errors import RunError
from ppcls.files import cache_home, sha256
from ppcls.inference.backends.base import Capability, installed_version, register_backend
from ppcls.inference.backends.paddle import PaddleRunner, create_engine, engine_config
from ppcls.options import Count, Options
from ppcls.paddle_install import require_paddle

__all__ = ["TensorRTBackend", "TensorRTOptions"]

_WHEEL = (
    "install a GPU wheel from Paddle's own index (https://www.paddlepaddle.org.cn/packages/stable/"
    "cu126/) together with TensorRT 10.5, or use the image "
    "paddlepaddle/paddle:3.0.0-gpu-cuda12.6-cudnn9.5-trt10.5"
)
_GPU_POOL_MB = 256
_MIN_SUBGRAPH = 3
"""Smaller groups of operators stay with Paddle, because the transfer costs more than it gains."""


class TensorRTOptions(Options):
    """Build options of an engine.

    Attributes:
        min_batch, opt_batch, max_batch: smallest, usual and largest batch size; the engine is
            fastest at the usual size and refuses sizes outside the range.
        workspace_mb: GPU memory for the build, in MiB.
        cache: folder for engines; None is `tensorrt` in the cache of ppcls.
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

    def shapes(self, image: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the smallest, usual and largest input shape, from the shape of an image."""
        return [(batch, *image) for batch in (self.min_batch, self.opt_batch, self.max_batch)]

    def folder(self, made_for: Mapping[str, Any]) -> Path:
        """Return the engine's folder; its name depends on these facts and the options."""
        facts = {**made_for, **self.model_dump(exclude={"cache"})}
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        cache = Path(os.path.expanduser(self.cache)) if self.cache else cache_home() / "tensorrt"
        return cache / key


@register_backend
class TensorRTBackend(PaddleRunner):
    """TensorRT inside Paddle Inference; one inference at a time for all threads.

    Args:
        precision: `bf16` needs the newer graph format.
        tensorrt: build options of the engine.

    Raises:
        RunError: this Paddle has no TensorRT, or no GPU.
        BundleError: the bundle has no graph for it.
    """

    name = "tensorrt"
    options = {"gpu": ("tensorrt",)}

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "gpu",
        precision: str = "fp32",
        tensorrt: TensorRTOptions | None = None,
    ):
        if hint := _why_not():
            raise RunError(hint)
        import paddle

        folder, self._options = Path(folder), tensorrt or TensorRTOptions()
        spec, graph = read_bundle(folder).Input, self.graph_file(folder)
        shapes = self._options.shapes(spec.shape[1:])
        made_for = {
            "graph": sha256(graph) + sha256(folder / WEIGHTS_FILE),
            "shapes": shapes,
            "precision": precision,
            "paddle": paddle.__version__,
            "tensorrt": _tensorrt_version(),
            "gpu": paddle.device.cuda.get_device_name(0),
        }
        kept = self._options.folder(made_for)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{kept}.lock"):  # another process may build the same engine
            if graph.name == GRAPH_FILE:
                convert_graph(graph, kept, shapes, spec.dtype, precision, self._options)
                config = gpu_config(kept / GRAPH_FILE)
            elif precision == "bf16":
                raise RunError("TensorRT computes in bf16 only from a graph of the newer format")
            else:
                kept.mkdir(exist_ok=True)
                record_shapes(graph, kept, shapes, spec.dtype)
                config = gpu_config(graph)
                build_at_first_run(config, kept, precision, self._options)
        self.load(config, folder)

    def run_all(self, batch: np.ndarray) -> list[np.ndarray]:
        """Map images as the network takes them, (N, ...), to all of its outputs, float32.

        Raises:
            RunError: the batch size is outside the range of the engine.
        """
        least, most = self._options.min_batch, self._options.max_batch
        if not least <= len(batch) <= most:
            raise RunError(
                f"the batch size is {len(batch)}, but the TensorRT engine is built for {least} to "
                f"{most}: choose another batch size, or another min_batch and max_batch"
            )
        return super().run_all(batch)

    @classmethod
    def capability(cls) -> Capability:
        """Return its capabilities on this machine."""
        if installed_version("paddlepaddle-gpu", "paddlepaddle") is None:
            return Capability(None, hint=f"PaddlePaddle is not installed: {_WHEEL}")
        if hint := _why_not():
            return Capability(None, hint=hint)
        return Capability(_tensorrt_version(), {"gpu": ["fp32", "fp16", "bf16"]})


def _tensorrt_version() -> str:
    from paddle.inference import get_trt_compile_version

    return ".".join(map(str, get_trt_compile_version()))


def _why_not() -> str:
    """Return in one line why TensorRT is unusable here, or an empty string."""
    require_paddle()
    import paddle

    if _tensorrt_version() == "0.0.0":
        return f"PaddlePaddle {paddle.__version__} as installed has no TensorRT: {_WHEEL}"
    if not gpu_count():
        return f"PaddlePaddle {paddle.__version__} finds no NVIDIA GPU, which TensorRT needs"
    return ""


def gpu_config(graph: Path) -> Any:
    """Return Paddle's `inference.Config` of a graph on the first GPU."""
    config = engine_config(graph)
    config.enable_use_gpu(_GPU_POOL_MB, 0)
    return config


def convert_graph(
    graph: Path,
    kept: Path,
    shapes: list[tuple[int, ...]],
    dtype: str,
    precision: str,
    options: TensorRTOptions,
) -> None:
    """Write a graph of the newer format with its engine into a folder, unless it exists."""
    if (kept / GRAPH_FILE).is_file():
        return
    from paddle.tensorrt import Input, PrecisionMode, TensorRTConfig, convert

    # Other processes see the folder only when it is complete.
    work = kept.with_name(f".{kept.name}.{os.getpid()}")
    work.mkdir(parents=True, exist_ok=True)
    names = ("min_input_shape", "optim_input_shape", "max_input_shape")
    config = TensorRTConfig(
        inputs=[Input(**dict(zip(names, shapes, strict=True)), input_data_type=dtype)],
        precision_mode=PrecisionMode[precision.upper()],
        min_subgraph_size=_MIN_SUBGRAPH,
        workspace_size=options.workspace_mb << 20,
        save_model_dir=str(work / "inference"),
    )
    try:
        convert(str(graph.with_suffix("")), config)
        work.rename(kept)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def record_shapes(graph: Path, kept: Path, shapes: list[tuple[int, ...]], dtype: str) -> None:
    """Run the smallest, usual and largest batch once, so that Paddle records all inner shapes."""
    if (kept / "shapes.pbtxt").is_file():
        return
    config = gpu_config(graph)
    config.collect_shape_range_info(str(kept / "shapes.pbtxt"))
    engine = create_engine(config, graph.parent)
    handle = engine.get_input_handle(engine.get_input_names()[0])
    for shape in shapes:
        handle.reshape(shape)
        handle.copy_from_cpu(np.zeros(shape, dtype))
        engine.run()


def build_at_first_run(config: Any, kept: Path, precision: str, options: TensorRTOptions) -> None:
    """Let a graph of the older format build and store its engine at its first run."""
    from paddle.inference import PrecisionType

    config.enable_tensorrt_engine(
        workspace_size=options.workspace_mb << 20,
        max_batch_size=options.max_batch,
        min_subgraph_size=_MIN_SUBGRAPH,
        precision_mode=PrecisionType.Half if precision == "fp16" else PrecisionType.Float32,
        use_static=True,
        use_calib_mode=False,
    )
    config.enable_tuned_tensorrt_dynamic_shape(
        shape_range_info_path=str(kept / "shapes.pbtxt"), allow_build_at_runtime=True
    )
    config.set_optim_cache_dir(str(kept))
