"""ONNX Runtime: runs the bundle's ONNX file. Needs no Paddle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

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

__all__ = ["OnnxRuntimeBackend"]

_PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}


def _library() -> Any:
    # Since 1.29, the first import starts sending usage data, and warns where it cannot write.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


@register_backend
class OnnxRuntimeBackend(EngineBackend):
    """Runs a bundle's ONNX file; several threads may run it at once.

    Raises:
        BundleError: the bundle has no ONNX file, or ONNX Runtime cannot load it.
    """

    name = "onnxruntime"
    reads = (ONNX_FILE,)
    remedy = "ppcls export --onnx"
    preference = {"cpu": 2, "gpu": 1}

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "cpu",
        precision: str = "fp32",
        threads: int | None = None,
    ):
        onnxruntime = _library()
        graph = self.graph_file(Path(folder))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or core_count()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=[_PROVIDERS[device]]
            )
        except Exception as error:  # its exceptions share no other base class
            reason = " ".join(str(error).split())
            raise BundleError(f"{graph}: ONNX Runtime cannot load it: {reason}") from None
        self._input = self._session.get_inputs()[0].name

    def run_all(self, batch: np.ndarray) -> list[np.ndarray]:
        """Map images as the network takes them, (N, ...), to all of its outputs, float32."""
        return self._session.run(None, {self._input: np.ascontiguousarray(batch)})

    @classmethod
    def capability(cls) -> Capability:
        """Return its capabilities on this machine."""
        version = installed_version("onnxruntime", "onnxruntime-gpu")
        if version is None:
            return Capability(None, hint="pip install 'ppcls[onnxruntime]'")
        providers = _library().get_available_providers()
        return Capability(
            version, {device: ["fp32"] for device, name in _PROVIDERS.items() if name in providers}
        )
