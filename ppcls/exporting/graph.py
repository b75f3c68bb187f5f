"""Export of a model to a graph for Paddle Inference, in either of Paddle's two formats."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

import ppcls
from ppcls.data.transforms.normalize import Affine
from ppcls.errors import PpclsError, RunError
from ppcls.models.base import ImageClassifier
from ppcls.models.layers import sigmoid
from ppcls.models.normalize import Normalize
from ppcls.models.registry import create_model
from ppcls.models.weights import load_weights, save_weights

__all__ = ["GraphFormat", "GraphOptions", "run_child", "write_graph"]

GraphFormat = Literal["json", "pdmodel"]
INPUT_NAME = "x"
_PIR_FLAG = "FLAGS_enable_pir_api"


@dataclass(frozen=True)
class GraphOptions:
    """The input and outputs of a graph.

    Attributes:
        shape: shape of one image, (channels, height, width).
        activation: output its probabilities instead of logits.
        features: also output the pooled last feature map.
        affine: scale and bias of each channel; the graph then takes pixels, uint8 NHWC, and
            normalises them itself. None for normalised float32 NCHW.
    """

    shape: tuple[int, int, int]
    activation: Literal["softmax", "sigmoid"] | None = None
    features: bool = False
    affine: tuple[list[float], list[float]] | None = None


class _Graph(nn.Layer):
    """A model with the operations that the graph adds."""

    def __init__(self, model: ImageClassifier, options: GraphOptions):
        super().__init__()
        self.model = model
        self.activation, self.features = options.activation, options.features
        self.normalize = None
        if options.affine is not None:
            scale, bias = (np.asarray(values, np.float32) for values in options.affine)
            self.normalize = Normalize(Affine(scale, bias))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.normalize is not None:
            x = self.normalize(x)
        last = self.model.forward_features(x)[-1]
        # Before the head, because Paddle Inference scales the map for dropout in place, even if it
        # is used again later.
        pooled = F.adaptive_avg_pool2d(last, 1).flatten(1) if self.features else None
        answer = self.model.forward_head(last)
        if self.activation == "softmax":
            answer = F.softmax(answer)
        elif self.activation == "sigmoid":
            answer = sigmoid(answer)
        return answer if pooled is None else (answer, pooled)


def _trace(model: ImageClassifier, options: GraphOptions, prefix: Path) -> None:
    channels, height, width = options.shape
    if options.affine is None:
        spec = paddle.static.InputSpec([None, channels, height, width], "float32", INPUT_NAME)
    else:
        spec = paddle.static.InputSpec([None, height, width, channels], "uint8", INPUT_NAME)
    graph = _Graph(model, options)
    graph.eval()
    static = paddle.jit.to_static(graph, input_spec=[spec], full_graph=True)
    paddle.jit.save(static, str(prefix))


def write_graph(
    model: ImageClassifier, options: GraphOptions, folder: Path, file_format: GraphFormat
) -> None:
    """Write `inference.json` or `inference.pdmodel`, and `inference.pdiparams`.

    Paddle fixes the format when it is imported, so a child process writes the other format from the
    weights of the model.

    Raises:
        RunError: the child failed.
    """
    pir = file_format == "json"
    if paddle.get_flags(_PIR_FLAG)[_PIR_FLAG] == pir:
        _trace(model, options, folder / "inference")
        return
    weights = folder / "weights.npz"
    save_weights(model, weights)
    arch = {
        "name": model.name,
        "class_num": model.state_dict()[f"{model.head}.bias"].shape[0],
        "in_channels": options.shape[0],
    }
    task = {"arch": arch, "weights": str(weights), "graph": asdict(options), "folder": str(folder)}
    run_child(
        "ppcls.exporting.graph",
        [json.dumps(task)],
        what="Paddle cannot write the graph in this format",
        env={_PIR_FLAG: str(int(pir))},
    )
    weights.unlink()


def run_child(
    module: str, arguments: list[str], *, what: str, env: dict[str, str] | None = None
) -> None:
    """Run a module of ppcls in a separate process, with its output off the terminal.

    Raises:
        RunError: it failed; the message begins with `what` and ends with its last output line.
    """
    home = str(Path(ppcls.__file__).parents[1])
    path = os.pathsep.join(part for part in (home, os.environ.get("PYTHONPATH")) if part)
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "PYTHONPATH": path, "GLOG_minloglevel": "2", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        words = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        last = words[-1] if words else f"exit status {done.returncode}"
        raise RunError(f"{what}: {last}")


def _main() -> int:
    task = json.loads(sys.argv[1])
    graph = task["graph"]
    options = GraphOptions(**graph | {"shape": tuple(graph["shape"])})
    try:
        model = create_model(**task["arch"])
        load_weights(model, task["weights"])
    except PpclsError as error:
        print(error)
        return 1
    _trace(model, options, Path(task["folder"]) / "inference")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
