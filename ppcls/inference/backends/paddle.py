"""Paddle Inference: the exported graph, on CPU with oneDNN or on a GPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from ppcls.bundle import GRAPH_FILE, OLDER_GRAPH_FILE, WEIGHTS_FILE
from ppcls.errors import BundleError, RunError, require_paddle

require_paddle()

import paddle  # noqa: E402
from paddle import inference  # noqa: E402

__all__ = ["PaddleBackend"]


class PaddleBackend:
    """Runs a bundle's graph with Paddle Inference.

    Args:
        folder: the bundle.
        device: `auto` takes the GPU where Paddle finds one.
        threads: CPU threads of one inference; None is all cores (Paddle's own default is 1).

    Raises:
        RunError: a GPU is asked for and Paddle finds none.
        BundleError: Paddle Inference cannot load the graph or the weights.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        device: Literal["auto", "cpu", "gpu"] = "auto",
        threads: int | None = None,
    ):
        gpus = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
        if device == "gpu" and not gpus:
            raise RunError("no GPU that this PaddlePaddle can use; choose the device cpu or auto")
        graph = Path(folder) / GRAPH_FILE
        if not graph.is_file():
            graph = graph.with_name(OLDER_GRAPH_FILE)
        config = inference.Config(str(graph), str(graph.with_name(WEIGHTS_FILE)))
        config.disable_glog_info()
        if gpus and device != "cpu":
            config.enable_use_gpu(256, 0)
        else:
            config.disable_gpu()
            config.set_cpu_math_library_num_threads(threads or os.cpu_count() or 1)
        try:
            self._predictor = inference.create_predictor(config)
        except RuntimeError as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), "")
            raise BundleError(f"{folder}: Paddle Inference cannot load it: {reason}") from None
        self._input = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        self.output_name = self._predictor.get_output_names()[0]
        self._output = self._predictor.get_output_handle(self.output_name)

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Map normalised images, float32 (N, 3, H, W), to logits, float32 (N, C)."""
        self._input.reshape(batch.shape)
        self._input.copy_from_cpu(np.ascontiguousarray(batch))
        self._predictor.run()
        return self._output.copy_to_cpu()
