"""The predictor: images in, named classes out, the same way wherever the network runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, cast

import cv2
import numpy as np
from pydantic import ValidationError

from ppcls.data import image as image_reader
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.devices import core_count
from ppcls.errors import ConfigError, DataError, ImageError, RunError, refuse_unknown
from ppcls.inference.backends import Backend, EngineBackend, backend_options, open_backend
from ppcls.inference.inputs import is_url, sources_of
from ppcls.inference.model_folder import read_facts
from ppcls.inference.options import PredictorOptions
from ppcls.inference.prefetch import LoadedImage, load_image, prefetch
from ppcls.inference.results import Result, Timing, best_classes, softmax
from ppcls.options import first_problem

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Classifier", "Predictor"]

_ROUNDING = 0.05
"""How far the sum of probabilities may be from one, after a softmax in half precision."""

_Asked = Literal["classes", "logits", "features"]


class Classifier:
    """A backend with the transforms before it and the class names after it.

    Any number of threads may use one. A `with` block, or `close`, lets the network go.

    Args:
        backend: runs the network.
        pipeline: evaluation transforms.
        labels: class names, one for each output of the network.
        topk: number of classes in an answer.
        threshold: leave classes with a lower score out of an answer.
        batch_size: images that are computed at once.
        workers: threads that decode and transform; None is one a core.
        allow_url: whether a string that is a URL may be fetched.
        to_input: makes transformed images, uint8 (N, H, W, 3), what the network takes; None is the
            transforms' own normalisation.
        gives_scores: whether the network ends with a softmax.
    """

    def __init__(
        self,
        backend: Backend,
        pipeline: Pipeline,
        labels: Sequence[str],
        *,
        topk: int = 5,
        threshold: float = 0.0,
        batch_size: int = 32,
        workers: int | None = None,
        allow_url: bool = False,
        to_input: Callable[[np.ndarray], np.ndarray] | None = None,
        gives_scores: bool = False,
    ):
        self.labels = list(labels)
        self.topk = min(topk, len(self.labels))
        self.threshold = threshold
        self.batch_size = batch_size
        self._backend: Backend | None = backend
        self._pipeline = pipeline
        self._workers = workers or core_count()
        self._allow_url = allow_url
        self._to_input = to_input or pipeline.normalize
        self._gives_scores = gives_scores
        # Evaluation transforms draw no random numbers; they are called as those of training are.
        self._rng = np.random.default_rng(0)

    def predict(self, inputs: Any, *, timing: bool = False) -> Iterator[Result]:
        """Yield one result for each image, in their order.

        Images are read and transformed by several threads while others are computed. Those of a
        list are computed `batch_size` at a time; of an iterator, as many as are ready.

        Args:
            inputs: an image or several: a path, a folder (searched through), a glob pattern, a
                `.txt` list of paths, a URL (if allowed); encoded bytes, a binary file object, a
                Pillow image, a uint8 RGB array (H, W, 3); a sequence or an iterator of these, or an
                array of several images (N, H, W, 3). What cannot be read gives a result with
                `error` set, and the others go on.
            timing: whether to fill `Result.timing`.

        Raises:
            DataError: a folder or a list without images, or the transforms do not give one size.
            RunError: the predictor is closed.
        """
        return self._predict(inputs, "classes", timing)

    def predict_logits(self, inputs: Any, *, timing: bool = False) -> Iterator[Result]:
        """Yield results as `predict` does, with `logits` in the place of classes and scores.

        Raises:
            ConfigError: the model was exported with a softmax, and gives no logits.
            DataError, RunError: as `predict`.
        """
        if self._gives_scores:
            raise ConfigError(
                "the model was exported with a softmax, so there are no logits; export it without"
            )
        return self._predict(inputs, "logits", timing)

    def close(self) -> None:
        """Let the network go; nothing can be predicted after it."""
        self._backend = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _predict(self, inputs: Any, asked: _Asked, timing: bool) -> Iterator[Result]:
        # Here rather than in the generator: a mistake is raised where it was made.
        sources = sources_of(inputs)
        return (
            one for batch in self._batches(sources) for one in self._answer(batch, asked, timing)
        )

    def _batches(self, sources: Sequence[Any] | Iterator[Any]) -> Iterator[list[LoadedImage]]:
        is_list = isinstance(sources, Sequence)
        if isinstance(sources, Sequence) and len(sources) == 1:
            # Threads have nothing to overlap here, and to start them takes longer than a transform.
            yield [load_image(self._load, sources[0])]
        else:
            yield from prefetch(self._load, sources, self._workers, self.batch_size, fill=is_list)

    def _load(self, source: Any) -> np.ndarray:
        """Return an image as the network takes it."""
        if is_url(source):
            source = image_reader.read(source, allow_url=self._allow_url)
        try:
            image = self._pipeline(source, self._rng)
        except (cv2.error, MemoryError) as error:
            reason = str(error) or "not enough memory"
            raise ImageError(f"the image cannot be transformed: {reason}", _name(source)) from None
        return self._to_input(image[None])[0]

    def _answer(self, batch: list[LoadedImage], asked: _Asked, timing: bool) -> Iterator[Result]:
        images = [one.image for one in batch if isinstance(one.image, np.ndarray)]
        if len({image.shape for image in images}) > 1:
            raise DataError(
                "the transforms give images of different sizes; end them with a fixed size "
                "(CropImage, or ResizeImage with size)"
            )
        start = perf_counter()
        # Of one image there is nothing to copy.
        joined = images[0][None] if len(images) == 1 else np.stack(images) if images else None
        found = np.empty((0, 0)) if joined is None else self._run(joined, asked)
        milliseconds = (perf_counter() - start) * 1e3
        outputs = iter(found)
        # A sum is not finite if one of its terms is not: one look for all, in the usual case.
        is_sound = math.isfinite(found.sum(dtype=np.float64))
        for source, image, loading in batch:
            name = _name(source)
            took = Timing(loading, milliseconds, len(images)) if timing else None
            if isinstance(image, ImageError):
                yield Result(name, error=str(image), timing=took)
                continue
            output = next(outputs)
            if not (is_sound or np.isfinite(output).all()):
                yield Result(name, error="the network's answer is not finite numbers", timing=took)
            elif asked == "logits":
                yield Result(name, timing=took, logits=output)
            elif asked == "features":
                yield Result(name, timing=took, features=output)
            else:
                yield self._classes(name, output, took)

    def _run(self, images: np.ndarray, asked: _Asked) -> np.ndarray:
        backend = self._backend
        if backend is None:
            raise RunError("this predictor is closed")
        if asked == "features":
            return cast(EngineBackend, backend).run_all(images)[1]
        outputs = backend.run(images)
        if outputs.shape[1] != len(self.labels):
            raise DataError(
                f"{len(self.labels)} class names, and the network answers with "
                f"{outputs.shape[1]} classes"
            )
        if self._gives_scores and np.abs(outputs.sum(axis=1) - 1).max() > _ROUNDING:
            raise RunError(
                "the network's answers are no probabilities: it does not end with a softmax; "
                "say so with softmax=False (`ppcls predict --logits`)"
            )
        return outputs

    def _classes(self, name: str, output: np.ndarray, took: Timing | None) -> Result:
        scores = output if self._gives_scores else softmax(output)
        ids = best_classes(output, self.topk)
        best = scores[ids]
        if self.threshold:
            ids, best = ids[best >= self.threshold], best[best >= self.threshold]
        named = [self.labels[i] for i in ids.tolist()]
        return Result(name, ids.tolist(), best.tolist(), named, timing=took)


def _name(source: Any) -> str:
    if isinstance(source, (str, PathLike)):
        return str(source)
    return str(getattr(source, "filename", "") or type(source).__name__)


class Predictor(Classifier):
    """Predicts with an exported model.

    The transforms and class names are those that were exported with it. A predictor that is
    pickled, for another process, is made anew there from the same arguments.

    Args:
        folder: the exported model.
        options: those of `PredictorOptions`, and what only the chosen backend takes, as
            `ppcls backends` lists it: `gpu_memory_mb` and `onednn` of `paddle`, `tensorrt` (its
            `TensorRTOptions`) of `tensorrt`.

    Attributes:
        options: what was chosen, or the defaults.
        facts: what is known of the model.
        backend: the name of the backend that was taken.
        description: the backend, its version, device, precision and threads, in a few words.

    Raises:
        BundleError: the folder is incomplete or changed, or lacks what the backend runs.
        ConfigError: no such backend or option, an impossible value, or a backend that cannot
            compute so.
        DataError: the labels cannot be read, or do not fit.
        RunError: no such device.
        MissingDependencyError: the backend is not installed.
    """

    def __init__(self, folder: str | Path, **options: Any):
        own = PredictorOptions.model_fields
        refuse_unknown("Predictor", options, [*own, *backend_options()])
        try:
            chosen = PredictorOptions(**{k: v for k, v in options.items() if k in own})
        except ValidationError as error:
            raise ConfigError(f"Predictor: {first_problem(error)}") from None
        self.options = chosen
        self._again: partial[Any] = partial(type(self), folder, **options)
        self.folder = Path(folder).expanduser()
        self.facts = read_facts(self.folder, chosen.labels, chosen.transforms, chosen.softmax)
        opened = open_backend(
            chosen.backend,
            self.folder,
            device=chosen.device,
            precision=chosen.precision,
            threads=chosen.threads,
            **{k: v for k, v in options.items() if k not in own},
        )
        self.backend = opened.name
        self.description = str(opened)
        super().__init__(
            opened.engine,
            self.facts.pipeline,
            self.facts.labels,
            topk=chosen.topk or self.facts.topk,
            threshold=chosen.threshold,
            batch_size=chosen.batch_size,
            workers=chosen.workers,
            allow_url=chosen.allow_url,
            to_input=self.facts.to_input,
            gives_scores=self.facts.gives_scores,
        )

    def features(self, inputs: Any, *, timing: bool = False) -> Iterator[Result]:
        """Yield results as `predict` does, with `features` in the place of classes and scores.

        Raises:
            ConfigError: the model was exported without features.
            DataError, RunError: as `predict`.
        """
        if not self.facts.has_features:
            raise ConfigError(
                f"{self.folder}: exported without features; `ppcls export --features` gives a "
                "model that answers with them, too"
            )
        return self._predict(inputs, "features", timing)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._again, ()

    def __repr__(self) -> str:
        return f"<Predictor {self.folder}: {self.description}>"
