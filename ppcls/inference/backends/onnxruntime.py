"""ONNX Runtime: the bundle's ONNX file. Needs no Paddle."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from ppcls.bundle import ONNX_FILE
from ppcls.devices import core_count
from ppcls.errors import BundleError
from ppcls.inference.backends.base import Capability, Precision, installed, require

__all__ = ["OnnxRuntimeBackend"]

_PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}


class OnnxRuntimeBackend:
    """Runs a bundle's ONNX file; threads may run it at the same time.

    Args:
        folder: the bundle.
        device: `cpu` or `gpu`.
        precision: `fp32`, the precision of the file.
        threads: CPU threads of one inference; None is all cores.

    Raises:
        BundleError: the bundle has no ONNX file, or ONNX Runtime cannot load it.
    """

    name: ClassVar[str] = "onnxruntime"

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "cpu",
        precision: Precision = "fp32",
        threads: int | None = None,
    ):
        import onnxruntime

        remedy = "`ppcls export --onnx` writes one"
        graph = require(Path(folder), (ONNX_FILE,), "ONNX Runtime", remedy)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or core_count()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=[_PROVIDERS[device]]
            )
        except Exception as error:  # its own exceptions share no base but this
            reason = " ".join(str(error).split())
            raise BundleError(f"{graph}: ONNX Runtime cannot load it: {reason}") from None
        self._input = self._session.get_inputs()[0].name
        self._first = [self._session.get_outputs()[0].name]

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Map images as the network takes them, (N, ...), to its first output, float32 (N, C)."""
        return self._session.run(self._first, {self._input: np.ascontiguousarray(batch)})[0]

    def run_all(self, batch: np.ndarray) -> list[np.ndarray]:
        """Map images as the network takes them, (N, ...), to all of its outputs, float32."""
        return self._session.run(None, {self._input: np.ascontiguousarray(batch)})

    @classmethod
    def capability(cls) -> Capability:
        """Say what it can do on this machine."""
        version = installed("onnxruntime", "onnxruntime-gpu")
        if version is None:
            return Capability(None, hint="pip install 'ppcls[onnxruntime]'")
        import onnxruntime

        providers = onnxruntime.get_available_providers()
        precisions = {device: ["fp32"] for device, name in _PROVIDERS.items() if name in providers}
        return Capability(version, precisions, (ONNX_FILE,))
