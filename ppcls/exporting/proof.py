"""The proof of an export: the same logits from the model and from what was made of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import paddle
from tqdm import tqdm

from ppcls.config import Config
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.errors import ConfigError, RunError
from ppcls.exporting.graph import GraphOptions
from ppcls.exporting.images import Images, real_images
from ppcls.models.base import ImageClassifier

__all__ = ["TOLERANCE", "Difference", "Proof", "compare", "log_probabilities"]

TOLERANCE = 1e-4
"""Largest difference allowed between two logits, in standard deviations of the logits."""

FEATURE_TOLERANCE = 1e-3
"""The same for features: single ones keep the rounding that a logit averages over all of them.

In an untrained SE_HRNet_W18_C, eager float32 and the graph are as far from float64 as they are
from each other; over 8 images of noise that was up to 8e-4.
"""

# Below this a float32 probability says nothing about its logit.
_LEAST_PROBABILITY = 1e-30

Outputs = list[np.ndarray]


class Runner(Protocol):
    """What runs a graph."""

    def run_all(self, batch: np.ndarray) -> Outputs:
        """Map images as the graph takes them, (N, ...), to all of its outputs, (N, C) each."""
        ...


@dataclass(frozen=True)
class Difference:
    """How what a graph answers, (N, C), compares with what the model does.

    Attributes:
        largest: difference of two numbers, in standard deviations of the model's.
        worst: index of the image that has it.
        changed: number of images whose largest number is another one.
    """

    largest: float
    worst: int
    changed: int

    def require(
        self, names: Sequence[str], graph: str, explain: Callable[[int], str] = lambda index: ""
    ) -> float:
        """Return the largest difference of logits.

        Args:
            names: what to call each image in an error.
            graph: what to call the graph in an error.
            explain: given the worst image's index, says more in an error.

        Raises:
            RunError: it exceeds `TOLERANCE`, or an image's best class differs; the worst is named.
        """
        # Not `>=`: a difference that is no number must not pass.
        if not self.largest < TOLERANCE or self.changed:
            raise RunError(
                f"{graph} answers differently from the model, so nothing is exported: largest "
                f"difference {self.largest:.2e} standard deviations of the logits (allowed "
                f"{TOLERANCE:.0e}) on {names[self.worst]}; another best class for {self.changed} "
                f"of {len(names)} images{explain(self.worst)}"
            )
        return self.largest

    def require_features(self, names: Sequence[str], graph: str) -> None:
        """Check a difference of features, as `require` does that of logits.

        Raises:
            RunError: it exceeds `FEATURE_TOLERANCE`; the worst image is named.
        """
        if not self.largest < FEATURE_TOLERANCE:
            raise RunError(
                f"{graph} gives other features than the model, so nothing is exported: largest "
                f"difference {self.largest:.2e} of their standard deviation (allowed "
                f"{FEATURE_TOLERANCE:.0e}) on {names[self.worst]}"
            )


def compare(expected: np.ndarray, found: np.ndarray, std: float | None = None) -> Difference:
    """Compare what a model answers, float (N, C), with what was made of it does.

    Args:
        expected: what the model answers.
        found: what its export answers to the same images.
        std: the unit of the difference; None is the standard deviation of `expected`.
    """
    # In float32 the square of a large number is infinite, by which any difference would be nothing.
    expected = expected.astype(np.float64)
    # A model that answers the same to everything has no spread to measure by.
    difference = np.abs(found - expected).max(axis=1) / (std or expected.std() or 1.0)
    # The position of a difference that is no number, where there is one.
    worst = int(difference.argmax())
    changed = int((expected.argmax(axis=1) != found.argmax(axis=1)).sum())
    return Difference(float(difference[worst]), worst, changed)


def _spread(answers: np.ndarray) -> float:
    """Return the standard deviation of float32 answers, which may be too large to square."""
    return float(answers.std(dtype=np.float64))


def log_probabilities(answers: np.ndarray, *, softmax: bool) -> np.ndarray:
    """Return the logarithm of the probabilities (N, C), as far as float32 tells them.

    Args:
        answers: logits, or with `softmax` probabilities.
        softmax: what they are.
    """
    answers = answers.astype(np.float64)
    if not softmax:
        answers = np.exp(answers - answers.max(axis=1, keepdims=True))
        answers /= answers.sum(axis=1, keepdims=True)
    return np.log(np.maximum(answers, _LEAST_PROBABILITY))


def _compute(
    run: Callable[[np.ndarray], Outputs], pixels: np.ndarray, batch_size: int, what: str
) -> Outputs:
    """Return all outputs for all images (N, H, W, 3), `batch_size` at a time."""
    starts = tqdm(range(0, len(pixels), batch_size), what, leave=False, disable=None)
    parts = [run(pixels[i : i + batch_size]) for i in starts]
    return [np.concatenate(output) for output in zip(*parts, strict=True)]


@dataclass(frozen=True)
class _Answers:
    """Images, and what the model itself answers to them."""

    images: Images
    batch_size: int
    expected: Outputs


class Proof:
    """What the model itself answers, to hold each graph against.

    It is asked before it is traced: what is proven is that tracing changed nothing.

    Args:
        config: has the evaluation set, if any.
        model: with its weights.
        pipeline: the evaluation transforms.
        noise: random images.
        options: what the graphs take and give.

    Raises:
        ConfigError: the model cannot take images of this size, or the transforms give others.
        DataError: the evaluation set or an image is wrong.
        RunError: the model answers with numbers that are not finite.
    """

    def __init__(
        self,
        config: Config,
        model: ImageClassifier,
        pipeline: Pipeline,
        noise: Images,
        options: GraphOptions,
    ):
        self._model, self._normalize, self._options = model, pipeline.normalize, options
        try:
            # One at a time, so that the graphs run with two batch sizes.
            self._noise = self._ask(noise, 1)
        except (ValueError, RuntimeError, OSError) as error:
            size = "x".join(str(side) for side in reversed(options.shape[1:]))
            reason = str(error).strip().splitlines()[-1].strip()
            raise ConfigError(f"{model.name} cannot take {size} images: {reason}") from None
        found = real_images(config, pipeline, options.shape)
        self._real, self._source = None, "random"
        if found:
            images, self._source = found
            batch_size = config.Infer.batch_size if config.Infer else 1
            self._real = self._ask(images, batch_size)
        elif config.DataLoader.Eval:
            missing = config.DataLoader.Eval.dataset.source
            print(f"no images of {missing} here: checking on random ones alone", file=sys.stderr)

    def _ask(self, images: Images, batch_size: int) -> _Answers:
        @paddle.no_grad()
        def run(pixels: np.ndarray) -> Outputs:
            x = paddle.to_tensor(self._normalize(pixels))
            outputs = [self._model(x).numpy()]
            if self._options.features:
                outputs.append(self._model.forward_features(x)[-1].numpy().mean((2, 3)))
            return outputs

        expected = _compute(run, images.pixels, batch_size, "model")
        if not all(np.isfinite(output).all() for output in expected):
            raise RunError("the model itself answers with numbers that are not finite")
        return _Answers(images, batch_size, expected)

    def _compare(self, runner: Runner, asked: _Answers, graph: str, file: str) -> float:
        takes_pixels = self._options.affine is not None

        def run(pixels: np.ndarray) -> Outputs:
            return runner.run_all(pixels if takes_pixels else self._normalize(pixels))

        found = _compute(run, asked.images.pixels, asked.batch_size, file)
        logits, expected = found[0], asked.expected[0]
        std = _spread(expected)
        if self._options.softmax:
            # Equal up to one number for each image, which softmax takes away.
            logits = log_probabilities(logits, softmax=True)
            expected = log_probabilities(expected, softmax=False)
        difference = compare(expected, logits, std).require(
            asked.images.names, graph, lambda index: self._rounding(asked, index)
        )
        if self._options.features:
            compare(asked.expected[1], found[1]).require_features(asked.images.names, graph)
        return difference

    def _rounding(self, asked: _Answers, index: int) -> str:
        """Say whether a refusal is the graph's fault, or float32's: the model itself in float64."""
        expected = asked.expected[0]
        images = self._normalize(asked.images.pixels[index : index + 1]).astype(np.float64)
        with paddle.no_grad():
            exact = self._model.to(dtype="float64")(paddle.to_tensor(images)).numpy()
        self._model.to(dtype="float32")
        moved = compare(exact, expected[index : index + 1], _spread(expected)).largest
        own = (
            "; computed in float64, the model's own logits differ by "
            f"{moved:.1e} standard deviations"
        )
        if moved < TOLERANCE / 2:
            return f"{own} only, so the graph is wrong"
        return (
            f"{own} too: these weights amplify rounding beyond float32 (as those of an untrained "
            "or a diverged network do), and no two runtimes can agree; --no-check exports"
        )

    def check(self, runner: Runner, file: str, engine: str) -> dict[str, Any]:
        """Compare a graph with the model, and return the fields of `bundle.Check`.

        Raises:
            RunError: it answers differently.
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
            "images": len(self._real.images.names) if self._real else 0,
            "source": self._source,
            "random_images": len(self._noise.images.names),
            "tolerance": TOLERANCE,
            "checks": list(checks),
        }
