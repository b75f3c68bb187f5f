"""The predictor: images in, named classes out, the same for every backend."""

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
from ppcls.errors import ConfigError, DataError, ImageError, RunError
from ppcls.inference.backends import Backend, EngineBackend, backend_options, open_backend
from ppcls.inference.inputs import is_url, sources_of
from ppcls.inference.model_folder import ModelFacts, read_facts
from ppcls.inference.options import PredictorOptions
from ppcls.inference.prefetch import LoadedImage, load_image, prefetch
from ppcls.inference.results import (
    NOT_FINITE,
    Result,
    Timing,
    best_classes,
    sigmoid,
    softmax,
)
from ppcls.options import first_problem
from ppcls.spelling import refuse_unknown
from ppcls.thresholds import thresholds_of

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Classifier", "Predictor"]

_ROUNDING = 0.05
"""Tolerance of the sum of probabilities, after a softmax in half precision."""

_Asked = Literal["classes", "logits", "scores", "features"]


class Classifier:
    """A backend with its evaluation transforms and class names.

    Any number of threads may share one. A `with` block, or `close`, releases the network.

    Args:
        backend: runs the network.
        pipeline: evaluation transforms.
        labels: class names, one for each output of the network; none numbers the classes.
        topk: number of classes in a result; None is no limit.
        threshold: leave classes with a lower score out of a result, or all that are not above it if
            `multi_label`; one for all, or one for each class. 0 leaves out none.
        batch_size: number of images per inference.
        workers: threads that decode and transform; None is one per core.
        allow_url: whether a string that is a URL may be fetched.
        to_input: maps transformed images, uint8 (N, H, W, C), to the network's input; None is the
            normalisation of the transforms.
        gives_scores: whether the network ends with a softmax, or a multi-label one with a sigmoid.
        multi_label: whether an image may have several classes; the scores are then sigmoids.
    """

    def __init__(
        self,
        backend: Backend,
        pipeline: Pipeline,
        labels: Sequence[str],
        *,
        topk: int | None = 5,
        threshold: float | list[float] = 0.0,
        batch_size: int = 32,
        workers: int | None = None,
        allow_url: bool = False,
        to_input: Callable[[np.ndarray], np.ndarray] | None = None,
        gives_scores: bool = False,
        multi_label: bool = False,
    ):
        self.labels = list(labels)
        self.topk = min(filter(None, (topk, len(self.labels))), default=None)
        self.threshold = threshold
        self.multi_label = multi_label
        self.batch_size = batch_size
        self._backend: Backend | None = backend
        self._pipeline = pipeline
        self._workers = workers or core_count()
        self._allow_url = allow_url
        self._to_input = to_input or pipeline.normalize
        self._gives_scores = gives_scores
        # Evaluation transforms draw no random numbers, but have the same signature as all others.
        self._rng = np.random.default_rng(0)

    def predict(self, inputs: Any, *, timing: bool = False) -> Iterator[Result]:
        """Yield one result for each image, in order.

        Several threads read and transform images while the network computes others. A list is
        computed in batches of `batch_size`; an iterator in batches of the images that are ready.

        Args:
            inputs: one or several images: a path, a folder (searched recursively), a glob pattern,
                a `.txt` list of paths, a URL (if allowed); encoded bytes, a binary file object, a
                Pillow image, a uint8 array (H, W, C), RGB for three channels; a sequence or an
                iterator of these, or an array of several images (N, H, W, C). An unreadable image,
                or one with other channels than the model takes, gives a result with
                `error` set and does not affect the others.
            timing: whether to fill `Result.timing`.

        Raises:
            DataError: a folder or list has no images, or the transforms give different sizes.
            RunError: the predictor is closed.
        """
        return self._predict(inputs, "classes", timing)

    def predict_logits(self, inputs: Any, *, timing: bool = False) -> Iterator[Result]:
        """Yield results as `predict` does, with `logits` instead of classes and scores.

        Raises:
            ConfigError: the model was exported with a softmax or sigmoid, so it gives no logits.
            DataError, RunError: as `predict`.
        """
        if self._gives_scores:
            raise ConfigError(
                f"the model was exported with a {self._activation}, so it gives no logits; export "
                "it without"
            )
        return self._predict(inputs, "logits", timing)

    def predict_scores(self, inputs: Any, *, timing: bool = False) -> Iterator[Result]:
        """Yield results as `predict` does, with `all_scores` instead of classes and scores.

        Raises:
            DataError, RunError: as `predict`.
        """
        return self._predict(inputs, "scores", timing)

    @property
    def _activation(self) -> str:
        return "sigmoid" if self.multi_label else "softmax"

    def close(self) -> None:
        """Release the network; the predictor cannot be used afterwards."""
        self._backend = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _predict(self, inputs: Any, asked: _Asked, timing: bool) -> Iterator[Result]:
        # Not in the generator, so that an error is raised by the call itself.
        sources = sources_of(inputs)
        return (
            one for batch in self._batches(sources) for one in self._answer(batch, asked, timing)
        )

    def _batches(self, sources: Sequence[Any] | Iterator[Any]) -> Iterator[list[LoadedImage]]:
        is_list = isinstance(sources, Sequence)
        if isinstance(sources, Sequence) and len(sources) == 1:
            # One image overlaps with nothing, and starting a thread takes longer than a transform.
            yield [load_image(self._load, sources[0])]
        else:
            yield from prefetch(self._load, sources, self._workers, self.batch_size, fill=is_list)

    def _load(self, source: Any) -> np.ndarray:
        """Return an image as the network's input."""
        if is_url(source):
            channels = self._pipeline.channels
            source = image_reader.read(source, channels=channels, allow_url=self._allow_url)
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
        # A single image needs no copy.
        joined = images[0][None] if len(images) == 1 else np.stack(images) if images else None
        found = np.empty((0, 0)) if joined is None else self._run(joined, asked)
        milliseconds = (perf_counter() - start) * 1e3
        outputs = iter(found)
        # One check for all in the usual case: a sum is not finite if one of its terms is not.
        with np.errstate(invalid="ignore"):
            is_sound = math.isfinite(found.sum(dtype=np.float64))
        for source, image, loading in batch:
            name = _name(source)
            took = Timing(loading, milliseconds, len(images)) if timing else None
            if isinstance(image, ImageError):
                yield Result(name, error=str(image), timing=took)
                continue
            output = next(outputs)
            if not (is_sound or np.isfinite(output).all()):
                yield Result(name, error=NOT_FINITE, timing=took)
            elif asked == "logits":
                yield Result(name, timing=took, logits=output)
            elif asked == "scores":
                yield Result(name, timing=took, all_scores=self._scores(output))
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
        if self.labels and outputs.shape[1] != len(self.labels):
            raise DataError(
                f"{len(self.labels)} class names, but the network's output has "
                f"{outputs.shape[1]} classes; name a label list that fits"
            )
        if self._gives_scores and not self._are_scores(outputs):
            raise RunError(
                f"the network's outputs are not probabilities: it does not end with a "
                f"{self._activation}; use `ppcls predict --logits`, or "
                "ppcls.Predictor(…, softmax=False) in Python"
            )
        return outputs

    def _are_scores(self, outputs: np.ndarray) -> bool:
        if self.multi_label:
            # Not the opposite: a NaN is reported for its image alone.
            return not ((outputs < 0) | (outputs > 1)).any()
        return not np.abs(outputs.sum(axis=1) - 1).max() > _ROUNDING

    def _scores(self, output: np.ndarray) -> np.ndarray:
        if self._gives_scores:
            return output
        return sigmoid(output) if self.multi_label else softmax(output)

    def _classes(self, name: str, output: np.ndarray, took: Timing | None) -> Result:
        scores = self._scores(output)
        # A threshold for each class may leave out better classes than it keeps.
        ids = best_classes(output, len(output) if self.multi_label else self.topk)
        if np.any(self.threshold):
            threshold = np.asarray(self.threshold, scores.dtype)
            # As the metrics of either kind decide. Some multi-label networks end with a ReLU, so
            # that "no" is a score of exactly 0.5.
            kept = scores > threshold if self.multi_label else scores >= threshold
            ids = ids[kept[ids]]
        ids = ids[: self.topk]
        best = scores[ids]
        named = [self.labels[i] if self.labels else str(i) for i in ids.tolist()]
        return Result(name, ids.tolist(), best.tolist(), named, timing=took)


def _threshold(
    given: float | list[float] | dict[str, float], facts: ModelFacts
) -> float | list[float]:
    """Return the option `threshold` as a `Classifier` takes it.

    Raises:
        ConfigError: thresholds for each class do not fit the model.
    """
    if isinstance(given, float):
        return given
    if not facts.multi_label:
        raise ConfigError(
            "threshold: one for each class is for a multi-label model; this one needs a number"
        )
    return thresholds_of(given, facts.labels, "threshold")


def _name(source: Any) -> str:
    if isinstance(source, (str, PathLike)):
        return str(source)
    return str(getattr(source, "filename", "") or type(source).__name__)


class Predictor(Classifier):
    """Predicts with an exported model.

    The transforms and class names come from the export. In another process, a pickled predictor is
    created anew from the same arguments.

    Args:
        folder: the exported model.
        options: those of `PredictorOptions`, and those of the chosen backend, which
            `ppcls backends` lists: `gpu_memory_mb` and `onednn` for `paddle`, and `tensorrt` (a
            `TensorRTOptions`) for `tensorrt`.

    Attributes:
        options: the options, with defaults filled in.
        facts: the facts of the model.
        backend: the name of the chosen backend.
        description: the backend, its version, device, precision and threads in a few words.

    Raises:
        BundleError: the folder is incomplete or changed, or lacks the file that the backend runs.
        ConfigError: no such backend or option, an invalid value, or an unsupported precision.
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
        facts = self.facts = read_facts(
            self.folder, chosen.labels, chosen.transforms, chosen.softmax, chosen.multi_label
        )
        threshold = facts.threshold
        if chosen.threshold is not None:
            threshold = _threshold(chosen.threshold, facts)
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
            facts.pipeline,
            facts.labels,
            topk=chosen.topk or facts.topk,
            threshold=threshold,
            batch_size=chosen.batch_size,
            workers=chosen.workers,
            allow_url=chosen.allow_url,
            to_input=facts.to_input,
            gives_scores=facts.gives_scores,
            multi_label=facts.multi_label,
        )

    def features(self, inputs: Any, *, timing: bool = False) -> Iterator[Result]:
        """Yield results as `predict` does, with `features` instead of classes and scores.

        Raises:
            ConfigError: the model was exported without features.
            DataError, RunError: as `predict`.
        """
        if not self.facts.has_features:
            raise ConfigError(
                f"{self.folder}: exported without features; `ppcls export --features` exports a "
                "model with them"
            )
        return self._predict(inputs, "features", timing)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._again, ()

    def __repr__(self) -> str:
        return f"<Predictor {self.folder}: {self.description}>"
