"""The predictor: images in, named classes out, the same way wherever the network runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ppcls.bundle import read_bundle
from ppcls.data.transforms import Pipeline
from ppcls.errors import DataError, ImageError
from ppcls.inference.backends import Backend
from ppcls.inference.results import Result, best_classes

__all__ = ["Classifier", "Predictor"]


class Classifier:
    """A backend with the transforms before it and the class names after it.

    Args:
        backend: runs the network.
        pipeline: evaluation transforms.
        labels: class names, one for each output of the network.
        topk: number of classes in an answer.
        batch_size: images that are computed at once.
    """

    def __init__(
        self,
        backend: Backend,
        pipeline: Pipeline,
        labels: Sequence[str],
        *,
        topk: int = 5,
        batch_size: int = 32,
    ):
        self.labels = list(labels)
        self.topk = min(topk, len(self.labels))
        self.batch_size = batch_size
        self._backend = backend
        self._pipeline = pipeline
        # Evaluation transforms draw no random numbers; they are called as those of training are.
        self._rng = np.random.default_rng(0)

    def predict(self, sources: Iterable[Any]) -> Iterator[Result]:
        """Yield one result for each source, in their order.

        Args:
            sources: paths, encoded bytes, or uint8 RGB arrays (H, W, 3). One that cannot be read
                gives a result with `error` set, and the others go on.

        Raises:
            DataError: the transforms do not give one size.
        """
        remaining = iter(sources)
        while chunk := list(itertools.islice(remaining, self.batch_size)):
            loaded = [self._load(source) for source in chunk]
            images = [image for image in loaded if isinstance(image, np.ndarray)]
            if len({image.shape for image in images}) > 1:
                raise DataError(
                    "the transforms give images of different sizes; end them with a fixed size "
                    "(CropImage, or ResizeImage with size)"
                )
            answers = iter(self._classify(np.stack(images))) if images else iter(())
            for source, image in zip(chunk, loaded, strict=True):
                name = str(source) if isinstance(source, (str, Path)) else type(source).__name__
                if isinstance(image, ImageError):
                    yield Result(name, error=str(image))
                else:
                    ids, scores = next(answers)
                    names = [self.labels[i] for i in ids]
                    yield Result(name, ids.tolist(), scores.tolist(), names)

    def _load(self, source: Any) -> np.ndarray | ImageError:
        try:
            return self._pipeline(source, self._rng)
        except ImageError as error:
            return error

    def _classify(self, images: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        logits = self._backend.run(self._pipeline.normalize(images))
        return zip(*best_classes(logits, self.topk), strict=True)


class Predictor(Classifier):
    """Predicts with an exported model, through Paddle Inference.

    The transforms and class names are those that were exported with it.

    Args:
        bundle: the exported folder.
        device: where to run; `auto` takes a GPU where there is one.
        threads: CPU threads; None is all cores.
        topk: number of classes in an answer; None is the bundle's own number.
        batch_size: images that are computed at once.

    Raises:
        BundleError: the folder is incomplete or changed.
        RunError: no such device.
        MissingDependencyError: Paddle is not installed.
    """

    def __init__(
        self,
        bundle: str | Path,
        *,
        device: Literal["auto", "cpu", "gpu"] = "auto",
        threads: int | None = None,
        topk: int | None = None,
        batch_size: int = 32,
    ):
        from ppcls.inference.backends.paddle import PaddleBackend

        spec = read_bundle(bundle)
        top = spec.PostProcess.Topk
        super().__init__(
            PaddleBackend(bundle, device=device, threads=threads),
            spec.pipeline(),
            top.label_list,
            topk=topk or top.topk,
            batch_size=batch_size,
        )
