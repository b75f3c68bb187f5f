"""The parity check: a model and its export must give the same outputs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import paddle
from tqdm import tqdm

from ppcls.config import Config
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.errors import ConfigError, ImageError, RunError
from ppcls.exporting.graph import GraphOptions
from ppcls.inference.results import softmax
from ppcls.models.base import ImageClassifier
from ppcls.printable import say

__all__ = ["TOLERANCE", "ParityCheck", "log_probabilities", "logit_range", "require_same"]

TOLERANCE = 1e-4
"""Largest difference allowed between two logits, in standard deviations of the logits."""

FEATURE_TOLERANCE = 1e-3
"""The same for features, whose rounding errors do not average out as those of logits do.

In an untrained SE_HRNet_W18_C, eager float32 and the graph differ from float64 as much as from each
other: by up to 8e-4 over 8 images of noise.
"""

_REAL, _RANDOM = 64, 8
# Below this, a float32 probability is too inaccurate to recover its logit.
_LEAST_PROBABILITY = 1e-30

# Rounding of a sigmoid: up to 1.7e-7 in ONNX Runtime, 0.9e-7 in Paddle and OpenVINO.
_SIGMOID_ERROR = 2.0**-21

Outputs = list[np.ndarray]


class Runner(Protocol):
    """Runs a graph."""

    def run_all(self, batch: np.ndarray) -> Outputs:
        """Map images as the graph takes them, (N, ...), to all of its outputs, (N, C) each."""
        ...


def require_same(
    expected: np.ndarray,
    found: np.ndarray,
    names: Sequence[str],
    graph: str,
    *,
    what: Literal["logits", "features"] = "logits",
    std: float | None = None,
) -> float:
    """Return the largest difference between two sets of outputs, in standard deviations.

    Args:
        expected: the model's outputs, float (N, C).
        found: the export's outputs for the same images, float (N, C).
        names: the name of each image in errors.
        graph: the name of the export in errors.
        what: the kind of outputs; for logits, the best classes must also be the same.
        std: the unit of the difference; None is the standard deviation of `expected`.

    Raises:
        RunError: the difference exceeds the tolerance, or a best class differs; the message names
            the worst image.
    """
    # In float32 the square of a large number is infinite, which would hide any difference.
    expected = expected.astype(np.float64)
    # If all outputs are equal, there is no standard deviation to divide by.
    difference = np.abs(found - expected).max(axis=1) / (std or expected.std() or 1.0)
    # The position of a NaN difference, if there is one.
    worst = int(difference.argmax())
    tolerance, changed, best = FEATURE_TOLERANCE, 0, ""
    if what == "logits":
        changed = int((expected.argmax(axis=1) != found.argmax(axis=1)).sum())
        tolerance, best = TOLERANCE, f"; another best class for {changed} of {len(names)} images"
    # Not `>=`, because a NaN difference must not pass.
    if not difference[worst] < tolerance or changed:
        raise RunError(
            f"{graph} gives different {what} from the model, so nothing is exported: largest "
            f"difference {difference[worst]:.2e} of their standard deviation (allowed "
            f"{tolerance:.0e}) on {names[worst]}{best}. The graph is wrong, or the weights amplify "
            "rounding beyond float32, as in some untrained or diverged networks; --no-check "
            "exports it anyway"
        )
    return float(difference[worst])


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Return the logarithm of probabilities, float (N, C), with tiny ones raised to a floor."""
    return np.log(np.maximum(probabilities.astype(np.float64), _LEAST_PROBABILITY))


def logit_range(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest logits, float64 (N, C), of sigmoids, float32 (N, C).

    Close to 0 and 1, engines round a sigmoid to one of few numbers, so many logits give the same
    one. Beyond the rounding, the range is infinite; it is NaN for what is no probability.
    """
    exact = probabilities.astype(np.float64)
    low, high = np.maximum(exact - _SIGMOID_ERROR, 0), np.minimum(exact + _SIGMOID_ERROR, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(low / (1 - low)), np.log(high / (1 - high))


def _real_images(
    config: Config, pipeline: Pipeline, shape: Sequence[int]
) -> tuple[np.ndarray, list[str]] | None:
    """Return up to 64 images spread over the validation set, uint8 (N, H, W, C), and their names.

    Return None if its list or folder is missing or empty. Unreadable images are left out if
    `on_error` allows it.
    """
    dataset = config.DataLoader.Eval and config.DataLoader.Eval.dataset
    if not dataset:
        return None
    samples = dataset.read(config.Arch.class_num) if Path(dataset.source).exists() else []
    rng = np.random.default_rng(0)
    images = {}
    for i in np.linspace(0, len(samples) - 1, min(_REAL, len(samples))).astype(int):
        try:
            images[samples[i].path] = pipeline(samples[i].path, rng)
        except ImageError:
            if dataset.on_error == "error":
                raise
    if not images:
        say(f"no images of {dataset.source} here: checking on random ones only", sys.stderr)
        return None
    for name, image in images.items():
        found = [image.shape[2], *image.shape[:2]]
        if found != list(shape):
            raise ConfigError(
                f"the evaluation transforms give {name} the shape {found}, expected {list(shape)}: "
                "a CropImage or a ResizeImage.size gives all images one size"
            )
    return np.stack(list(images.values())), list(images)


def _compute(
    run: Callable[[np.ndarray], Outputs], pixels: np.ndarray, batch_size: int, what: str
) -> Outputs:
    """Return all outputs for all images (N, H, W, C), `batch_size` at a time."""
    starts = tqdm(range(0, len(pixels), batch_size), what, leave=False, disable=None)
    parts = [run(pixels[i : i + batch_size]) for i in starts]
    return [np.concatenate(output) for output in zip(*parts, strict=True)]


@dataclass(frozen=True)
class _Answered:
    """Transformed images, uint8 (N, H, W, C), and the model's outputs for them."""

    pixels: np.ndarray
    names: list[str]
    batch_size: int
    expected: Outputs


class ParityCheck:
    """The model's own outputs, to compare with those of each graph.

    They are computed before tracing, so that the check also covers the tracing.

    Args:
        config: names the validation set, if any.
        model: the model with its weights.
        pipeline: the evaluation transforms.
        options: the input and outputs of the graphs.

    Raises:
        ConfigError: the model cannot take images of this size, or the transforms give another size.
        DataError: the validation set or an image is invalid.
        RunError: the model's outputs are not finite.
    """

    def __init__(
        self, config: Config, model: ImageClassifier, pipeline: Pipeline, options: GraphOptions
    ):
        self._model, self._normalize, self._options = model, pipeline.normalize, options
        channels, height, width = options.shape
        shape = (_RANDOM, height, width, channels)
        noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        try:
            # A batch size of one here, so that the graphs run with two batch sizes.
            self._noise = self._ask(noise, [f"random image {i}" for i in range(_RANDOM)], 1)
        except (ValueError, RuntimeError, OSError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise ConfigError(
                f"{model.name} cannot take {width}x{height} images: {reason}"
            ) from None
        found = _real_images(config, pipeline, options.shape)
        batch_size = config.Infer.batch_size if config.Infer else 1
        self._real = self._ask(*found, batch_size) if found else None
        data = config.DataLoader.Eval
        self._source = data.dataset.source if data and found else "random"

    def _ask(self, pixels: np.ndarray, names: list[str], batch_size: int) -> _Answered:
        @paddle.no_grad()
        def run(pixels: np.ndarray) -> Outputs:
            x = paddle.to_tensor(self._normalize(pixels))
            outputs = [self._model(x).numpy()]
            if self._options.features:
                outputs.append(self._model.forward_features(x)[-1].numpy().mean((2, 3)))
            return outputs

        expected = _compute(run, pixels, batch_size, "model")
        if not all(np.isfinite(output).all() for output in expected):
            raise RunError("the model's own outputs are not finite: its weights are at fault")
        return _Answered(pixels, names, batch_size, expected)

    def _compare(self, runner: Runner, asked: _Answered, graph: str, file: str) -> float:
        takes_pixels = self._options.affine is not None

        def run(pixels: np.ndarray) -> Outputs:
            return runner.run_all(pixels if takes_pixels else self._normalize(pixels))

        found = _compute(run, asked.pixels, asked.batch_size, file)
        answers, expected = found[0], asked.expected[0]
        std = float(expected.std(dtype=np.float64))
        if self._options.activation == "softmax":
            # Equal up to a constant for each image, which softmax removes.
            answers, expected = (
                log_probabilities(answers),
                log_probabilities(softmax(expected.astype(np.float64))),
            )
        elif self._options.activation == "sigmoid":
            # The closest logits that round to these probabilities.
            answers = np.clip(expected.astype(np.float64), *logit_range(answers))
        difference = require_same(expected, answers, asked.names, graph, std=std)
        if self._options.features:
            require_same(asked.expected[1], found[1], asked.names, graph, what="features")
        return difference

    def check(self, runner: Runner, file: str, engine: str) -> dict[str, Any]:
        """Compare a graph with the model, and return the fields of `bundle.Check`.

        Raises:
            RunError: its outputs differ.
        """
        graph = f"{file}, run by {engine},"
        record: dict[str, Any] = {"file": file, "engine": engine}
        if self._real:
            record["max_difference"] = self._compare(runner, self._real, graph, file)
        record["max_difference_random"] = self._compare(runner, self._noise, graph, file)
        return record

    def record(self, checks: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the fields of `bundle.Parity`."""
        return {
            "verified": True,
            "images": len(self._real.names) if self._real else 0,
            "source": self._source,
            "random_images": _RANDOM,
            "tolerance": TOLERANCE,
            "checks": list(checks),
        }
