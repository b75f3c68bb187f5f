"""Paddle Inference: runs the exported graph, on a CPU with oneDNN or on a GPU."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from ppcls.bundle import GRAPH_FILE, OLDER_GRAPH_FILE, WEIGHTS_FILE
from ppcls.devices import core_count, cpu_has_bf16, gpu_count
from ppcls.errors import BundleError
from ppcls.inference.backends.base import (
    Capability,
    EngineBackend,
    installed_version,
    register_backend,
)
from ppcls.paddle_install import require_paddle

__all__ = ["PaddleBackend", "PaddleRunner", "create_engine", "engine_config"]


def engine_config(graph: Path) -> Any:
    """Return Paddle's `inference.Config` of a graph, with its log output off."""
    require_paddle()
    from paddle import inference

    config = inference.Config(str(graph), str(graph.with_name(WEIGHTS_FILE)))
    config.disable_glog_info()
    return config


def create_engine(config: Any, folder: Path) -> Any:
    """Return Paddle's predictor.

    Raises:
        BundleError: Paddle Inference cannot load the graph or the weights.
    """
    from paddle import inference

    try:
        return inference.create_predictor(config)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # Paddle's reason follows the stack traces of both languages.
        reason = next((line for line in lines if "Error:" in line), lines[0] if lines else "")
        raise BundleError(f"{folder}: Paddle Inference cannot load it: {reason}") from None


class PaddleRunner(EngineBackend):
    """Runs a configured graph, one inference at a time for all threads."""

    reads = (GRAPH_FILE, OLDER_GRAPH_FILE)

    def load(self, config: Any, folder: Path) -> None:
        """Create the engine.

        Raises:
            BundleError: Paddle Inference cannot load the graph or the weights.
        """
        self._engine = create_engine(config, folder)
        self._input = self._engine.get_input_handle(self._engine.get_input_names()[0])
        self._outputs = [
            self._engine.get_output_handle(name) for name in self._engine.get_output_names()
        ]
        self._lock = threading.Lock()

    def run_all(self, batch: np.ndarray) -> list[np.ndarray]:
        """Map images as the network takes them, (N, ...), to all of its outputs, float32."""
        with self._lock:
            self._input.reshape(batch.shape)
            self._input.copy_from_cpu(np.ascontiguousarray(batch))
            self._engine.run()
            return [output.copy_to_cpu() for output in self._outputs]


@register_backend
class PaddleBackend(PaddleRunner):
    """Paddle Inference with its own kernels: oneDNN on a CPU, CUDA on a GPU.

    Args:
        device: `auto` takes the GPU if Paddle finds one.
        onednn: False to compute without oneDNN on a CPU, which takes about three times as long.
        gpu_memory_mb: MiB of GPU memory to reserve at the start; it grows when necessary.

    Raises:
        BundleError: the bundle has no graph for it, or Paddle Inference cannot load it.
        MissingDependencyError: Paddle is not installed.
    """

    name = "paddle"
    options = {"cpu": ("onednn",), "gpu": ("gpu_memory_mb",)}
    preference = {"cpu": 1, "gpu": 2}

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
        onednn: bool = True,
        gpu_memory_mb: int = 256,
    ):
        config = engine_config(self.graph_file(Path(folder)))
        if device == "gpu" or (device == "auto" and gpu_count()):
            from paddle.inference import PrecisionType

            half = precision == "fp16"
            config.enable_use_gpu(
                gpu_memory_mb, 0, PrecisionType.Half if half else PrecisionType.Float32
            )
        else:
            config.disable_gpu()
            config.set_cpu_math_library_num_threads(threads or core_count())
            if not onednn:
                config.disable_mkldnn()
            if precision == "bf16":
                config.enable_mkldnn_bfloat16()
        self.load(config, Path(folder))

    @classmethod
    def capability(cls) -> Capability:
        """Return its capabilities on this machine."""
        version = installed_version("paddlepaddle", "paddlepaddle-gpu")
        if version is None:
            return Capability(None, hint="pip install 'ppcls[cpu]'")
        precisions = {"cpu": ["fp32", *(["bf16"] if cpu_has_bf16() else [])]}
        # The package name tells the build, without an import that takes a second.
        made_for_gpu, hint = installed_version("paddlepaddle-gpu"), ""
        if made_for_gpu and gpu_count():
            precisions["gpu"] = ["fp32", "fp16"]
        else:
            build = "finds no GPU" if made_for_gpu else "is the CPU build"
            hint = (
                f"the installed PaddlePaddle {version} {build}; for a GPU install a "
                "paddlepaddle-gpu that fits the driver"
            )
        return Capability(version, precisions, hint)
