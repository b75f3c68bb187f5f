"""Paddle Inference: the exported graph, on CPU with oneDNN or OpenVINO, or on a GPU."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ppcls.bundle import GRAPH_FILE, OLDER_GRAPH_FILE, WEIGHTS_FILE
from ppcls.devices import core_count, cpu_has_bf16, gpu_count
from ppcls.errors import BundleError, require_paddle
from ppcls.files import cache_home
from ppcls.inference.backends.base import Capability, Precision, installed, require

__all__ = [
    "PaddleBackend",
    "PaddleOpenVINOBackend",
    "PaddleRunner",
    "load_config",
    "open_predictor",
]

_DISTRIBUTIONS = ("paddlepaddle", "paddlepaddle-gpu")


def load_config(folder: Path, *graphs: str, backend: str, remedy: str) -> Any:
    """Return Paddle's `inference.Config` of a bundle, which says nothing while it runs.

    Raises:
        BundleError: the bundle has none of these graphs.
    """
    require_paddle()
    from paddle import inference

    graph = require(folder, graphs, backend, remedy)
    config = inference.Config(str(graph), str(graph.with_name(WEIGHTS_FILE)))
    config.disable_glog_info()
    return config


def open_predictor(config: Any, folder: Path) -> Any:
    """Return Paddle's predictor.

    Raises:
        BundleError: Paddle Inference cannot load the graph or the weights.
    """
    from paddle import inference

    try:
        return inference.create_predictor(config)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # Paddle's own reason stands after the traces of both languages.
        reason = next((line for line in lines if "Error:" in line), lines[0] if lines else "")
        raise BundleError(f"{folder}: Paddle Inference cannot load it: {reason}") from None


class PaddleRunner:
    """Runs what `open_predictor` gave; one inference at a time, whichever thread asks.

    Attributes:
        output_names: of the graph, in its order.
    """

    def __init__(self, config: Any, folder: Path):
        self._predictor = open_predictor(config, folder)
        self._input = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        self.output_names: list[str] = self._predictor.get_output_names()
        self._outputs = [self._predictor.get_output_handle(name) for name in self.output_names]
        self._lock = threading.Lock()

    @property
    def output_name(self) -> str:
        """The name of the first output."""
        return self.output_names[0]

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Map images as the network takes them, (N, ...), to its first output, float32 (N, C)."""
        return self._run(batch, self._outputs[:1])[0]

    def run_all(self, batch: np.ndarray) -> list[np.ndarray]:
        """Map images as the network takes them, (N, ...), to all of its outputs, float32."""
        return self._run(batch, self._outputs)

    def _run(self, batch: np.ndarray, outputs: list[Any]) -> list[np.ndarray]:
        with self._lock:
            self._input.reshape(batch.shape)
            self._input.copy_from_cpu(np.ascontiguousarray(batch))
            self._predictor.run()
            return [output.copy_to_cpu() for output in outputs]


class PaddleBackend(PaddleRunner):
    """Paddle Inference with its own kernels: oneDNN on a CPU, CUDA on a GPU.

    Args:
        folder: the bundle.
        device: `cpu` or `gpu`; `auto` takes the GPU where Paddle finds one.
        precision: `bf16` on a CPU that has it, `fp16` on a GPU, `fp32` on both.
        threads: CPU threads of one inference; None is all cores (Paddle's own default is 1).
        onednn: False to compute without oneDNN on a CPU, which takes about three times as long.
        gpu_memory_mb: MiB of a GPU's memory to take at once; more is taken when it is needed.

    Raises:
        BundleError: there is no graph for it, or Paddle Inference cannot load it.
        MissingDependencyError: Paddle is not installed.
    """

    name: ClassVar[str] = "paddle"

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        threads: int | None = None,
        onednn: bool = True,
        gpu_memory_mb: int = 256,
    ):
        remedy = "`ppcls export` writes one"
        config = load_config(
            Path(folder), GRAPH_FILE, OLDER_GRAPH_FILE, backend="Paddle Inference", remedy=remedy
        )
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
        super().__init__(config, Path(folder))

    @classmethod
    def capability(cls) -> Capability:
        """Say what it can do on this machine."""
        version = installed(*_DISTRIBUTIONS)
        if version is None:
            return Capability(None, hint="pip install 'ppcls[cpu]'")
        precisions = {"cpu": ["fp32", *(["bf16"] if cpu_has_bf16() else [])]}
        # The package's name says what it was built for, and spares an import that takes a second.
        made_for_gpu, hint = installed("paddlepaddle-gpu"), ""
        if made_for_gpu and gpu_count():
            precisions["gpu"] = ["fp32", "fp16"]
        else:
            build = "finds no GPU" if made_for_gpu else "is the CPU build"
            hint = (
                f"the installed PaddlePaddle {version} {build}; for a GPU install a "
                "paddlepaddle-gpu that fits the driver"
            )
        options = {"cpu": ("onednn",), "gpu": ("gpu_memory_mb",)}
        return Capability(version, precisions, (GRAPH_FILE, OLDER_GRAPH_FILE), options, hint)


class PaddleOpenVINOBackend(PaddleRunner):
    """The OpenVINO engine inside Paddle Inference, which takes the older graph format alone.

    Args, Raises: as `PaddleBackend`; it runs on a CPU.
    """

    name: ClassVar[str] = "paddle-openvino"

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "cpu",
        precision: Precision = "fp32",
        threads: int | None = None,
    ):
        # With the newer format Paddle says that OpenVINO is on, and does not use it.
        remedy = "`ppcls export --format pdmodel` writes one"
        config = load_config(
            Path(folder),
            OLDER_GRAPH_FILE,
            backend="the OpenVINO engine inside Paddle",
            remedy=remedy,
        )
        from paddle.inference import PrecisionType

        config.disable_gpu()
        # Else it keeps compiled models in the working directory.
        cache = cache_home() / "openvino"
        cache.mkdir(parents=True, exist_ok=True)
        config.set_optim_cache_dir(str(cache))
        config.enable_openvino_engine(
            PrecisionType.Bfloat16 if precision == "bf16" else PrecisionType.Float32
        )
        config.set_cpu_math_library_num_threads(threads or core_count())
        super().__init__(config, Path(folder))

    @classmethod
    def capability(cls) -> Capability:
        """Say what it can do on this machine."""
        version = installed(*_DISTRIBUTIONS)
        if version is None:
            return Capability(None, hint="pip install 'ppcls[cpu]'")
        precisions = ["fp32", *(["bf16"] if cpu_has_bf16() else [])]
        return Capability(version, {"cpu": precisions}, (OLDER_GRAPH_FILE,))
