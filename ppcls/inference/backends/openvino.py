"""OpenVINO: runs the bundle's ONNX file on a CPU. Needs no Paddle."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path

import numpy as np

from ppcls.bundle import ONNX_FILE
from ppcls.devices import core_count
from ppcls.errors import BundleError
from ppcls.inference.backends.base import (
    Capability,
    EngineBackend,
    installed_version,
    register_backend,
)

__all__ = ["OpenVINOBackend"]

_ELEMENT = {"fp32": "f32", "bf16": "bf16"}


@cache
def _cpu_capabilities() -> tuple[str, ...]:
    import openvino

    return tuple(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


@register_backend
class OpenVINOBackend(EngineBackend):
    """Runs a bundle's ONNX file; several threads may run it at once.

    Raises:
        BundleError: the bundle has no ONNX file, or OpenVINO cannot load it.
    """

    name = "openvino"
    reads = (ONNX_FILE,)
    remedy = "ppcls export --onnx"
    preference = {"cpu": 3}

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "cpu",
        precision: str = "fp32",
        threads: int | None = None,
    ):
        import openvino

        graph = self.graph_file(Path(folder))
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            # Without this, OpenVINO chooses bf16 by itself on processors that support it.
            "INFERENCE_PRECISION_HINT": _ELEMENT[precision],
            "INFERENCE_NUM_THREADS": threads or core_count(),
        }
        try:
            self._model = openvino.Core().compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise BundleError(f"{graph}: OpenVINO cannot load it: {reason}") from None
        self._local = threading.local()

    def run_all(self, batch: np.ndarray) -> list[np.ndarray]:
        """Map images as the network takes them, (N, ...), to all of its outputs, float32."""
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._model.create_infer_request()
        request.infer([np.ascontiguousarray(batch)], share_inputs=True)
        return [tensor.data.copy() for tensor in request.output_tensors]

    @classmethod
    def capability(cls) -> Capability:
        """Return its capabilities on this machine."""
        version = installed_version("openvino")
        if version is None:
            return Capability(None, hint="pip install 'ppcls[openvino]'")
        has_bf16 = "BF16" in _cpu_capabilities()
        return Capability(version, {"cpu": ["fp32", *(["bf16"] if has_bf16 else [])]})
