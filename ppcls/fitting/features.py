"""Features of images by a pretrained network, kept on the disk by weights, transforms and content.

The network is exported with an identity in place of its last linear layer, so that any backend
runs it and the parity check covers it.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import cv2
import numpy as np
import paddle
from filelock import FileLock
from paddle import nn
from tqdm import tqdm

from ppcls.bundle import is_complete
from ppcls.config import Config
from ppcls.config.schema import Topk
from ppcls.data.image import read_header
from ppcls.data.map_ahead import map_ahead
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.data.transforms.resize_crop import RandCropImage
from ppcls.devices import core_count
from ppcls.errors import BundleError, DataError, ImageError, RunError
from ppcls.exporting.by_name import without_data
from ppcls.exporting.export import export
from ppcls.exporting.onnx import has_onnx
from ppcls.files import cache_home, replacing, sha256
from ppcls.inference.backends import open_backend
from ppcls.inference.model_folder import read_facts
from ppcls.models.base import ImageClassifier
from ppcls.models.registry import create_model
from ppcls.models.weights import load_weights
from ppcls.training.signals import StopRequest

__all__ = [
    "CROPS",
    "FLIPPED",
    "WHOLE",
    "Extractor",
    "Features",
    "classifier_of",
    "needs_linear_head",
]

WHOLE, FLIPPED = 0, 1
"""Views of an image: as the evaluation sees it, and flipped. Random crops are 2, 3, …"""

CROPS = (2, 3, 4, 5)
"""The views that are random crops."""

_FORMAT = 1
"""Number of the cache's format; another one makes all features anew."""

_BATCH = 32
_SHARD, _SHARD_SECONDS = 512, 10.0
_HASH, _THUMB = 16, 8
_NAMED = 10


def needs_linear_head(name: str) -> bool:
    """Whether the classification layer of an architecture is not a linear layer on features."""
    model = create_model(name, class_num=2)
    return not isinstance(_layer(model, model.head), nn.Linear)


def classifier_of(
    name: str, weights: Path, class_num: int | None, head: str | None
) -> ImageClassifier:
    """Build an architecture with pretrained weights and a new last layer.

    Args:
        name: the architecture.
        weights: its weights; those of the classification layer are ignored.
        class_num: number of classes; None makes the last layer the identity, so that the model
            returns the features, float32 (N, D), that the layer reads.
        head: as `Arch.head`.

    Raises:
        WeightsError: the weights cannot be read, or belong to another architecture.
    """
    linear: bool = head == "linear"
    model = create_model(name, class_num=class_num or 2, head="linear" if linear else None)
    load_weights(model, weights, adapt=True)
    if class_num is None:
        parent, _, last = model.head.rpartition(".")
        width = _layer(model, model.head).weight.shape[0]
        identity = nn.Linear(width, width)
        identity.weight.set_value(paddle.eye(width))
        identity.bias.set_value(paddle.zeros([width]))
        setattr(_layer(model, parent), last, identity)
    model.eval()
    return model


def _layer(model: nn.Layer, name: str) -> nn.Layer:
    for part in name.split(".") if name else ():
        model = getattr(model, part)
    return model


@dataclass(frozen=True)
class Features:
    """The features of N readable images.

    Attributes:
        kept: int64 (N,), their indices among the images asked for.
        digests: the SHA-256 of each file.
        values: by view, float32 (N, D); a row is NaN where the view was not asked for.
        hashes: bool (N, 256), a perceptual hash; similar images differ in few bits.
        thumbs: uint8 (N, 192), a thumbnail of 8 x 8 RGB pixels.
        unreadable: the errors of the other images.
        computed: number of images that were not in the cache.
        seconds: the time that it took to read all of them.
        by: the backend that computed them; empty if the cache had all.
    """

    kept: np.ndarray
    digests: list[bytes]
    values: dict[int, np.ndarray]
    hashes: np.ndarray
    thumbs: np.ndarray
    unreadable: list[ImageError]
    computed: int
    seconds: float
    by: str


@dataclass
class _Row:
    """One file in the cache: its SHA-256, hash and thumbnail, and float32 (D,) by view."""

    digest: bytes
    hash: np.ndarray
    thumb: np.ndarray
    values: dict[int, np.ndarray]


class _Prepared(NamedTuple):
    """An image to compute: its views as the network's input, float32 (V, C, H, W)."""

    digest: bytes
    views: list[int]
    images: np.ndarray
    hash: np.ndarray
    thumb: np.ndarray


class Extractor:
    """A pretrained network that returns features, with its cache.

    Args:
        config: the configuration of the model to fit: architecture, image size and transforms.
        weights: the pretrained weights.

    Attributes:
        folder: the cache: `bundle`, which is the exported network, and shards of features.
        notes: lines for the user.
    """

    def __init__(self, config: Config, weights: Path):
        self.config, self.weights = config, weights
        self.pipeline = config.pipeline("Eval")
        self.notes: list[str] = []
        made_of = [
            _FORMAT,
            config.Arch.name,
            config.Arch.head,
            sha256(weights),
            [op.model_dump() for op in self.pipeline.ops],
        ]
        key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
        self.folder = cache_home() / "features" / f"{config.Arch.name}-{key}"

    def read(
        self, paths: Sequence[str], views: Sequence[Sequence[int]], *, skip_broken: bool
    ) -> Features:
        """Return the features of images, and compute those that the cache lacks.

        Args:
            paths: the images.
            views: for each image, the views to compute.
            skip_broken: leave out unreadable images.

        Raises:
            DataError: images cannot be read, and `skip_broken` is false; the message names them.
            WeightsError: the weights cannot be read, or belong to another architecture.
            RunError: the cache cannot be written, the network cannot be exported, or its features
                are not finite.
            Stopped: a signal stopped it; the features so far are in the cache.
        """
        start = time.perf_counter()
        rows = self._cached()
        digests, broken = _digests(paths)
        asked: dict[bytes, set[int]] = {}
        first: dict[bytes, str] = {}
        for path, digest, wanted in zip(paths, digests, views, strict=True):
            if digest is not None:
                asked.setdefault(digest, set()).update(wanted)
                first.setdefault(digest, path)
        missing = {
            first[digest]: (digest, sorted(lacking))
            for digest, wanted in asked.items()
            if (lacking := wanted - (rows[digest].values.keys() if digest in rows else set()))
        }
        # Most unreadable files have no valid header: found now, they cost no time later.
        bad = dict(zip(paths, broken, strict=True))
        bad |= dict(map_ahead(_header_problem, missing, core_count()))
        found = [error for error in bad.values() if error]
        if found and not skip_broken:
            raise _unreadable(found, len(paths))
        todo = {path: what for path, what in missing.items() if not bad.get(path)}
        by = ""
        if todo:
            by, damaged = self._compute(todo, rows)
            bad |= damaged
        errors = [error for error in bad.values() if error]
        if errors and not skip_broken:
            raise _unreadable(errors, len(paths))
        kept = [i for i, digest in enumerate(digests) if digest in rows]
        chosen = [rows[digests[i]] for i in kept]  # type: ignore[index]
        if not chosen:
            raise DataError(f"none of the {len(paths)} images can be read; the first: {errors[0]}")
        lacks = np.full(len(next(iter(chosen[0].values.values()))), np.nan, np.float32)
        every = sorted({view for wanted in views for view in wanted})
        return Features(
            np.array(kept, np.int64),
            [digests[i] for i in kept],  # type: ignore[misc]
            {v: np.stack([row.values.get(v, lacks) for row in chosen]) for v in every},
            np.stack([row.hash for row in chosen]),
            np.stack([row.thumb for row in chosen]),
            errors,
            len(todo),
            time.perf_counter() - start,
            by,
        )

    def _cached(self) -> dict[bytes, _Row]:
        """Return what the shards hold; remove damaged ones, which are computed again."""
        rows: dict[bytes, _Row] = {}
        for path in sorted(self.folder.glob("*.npz")):
            try:
                data = path.read_bytes()
                # A shard's name is its checksum.
                if hashlib.sha256(data).hexdigest()[: len(path.stem)] != path.stem:
                    raise ValueError
                with np.load(BytesIO(data), allow_pickle=False) as arrays:
                    shard = dict(arrays)
            except (OSError, ValueError, BadZipFile):
                self.notes.append(f"{path}: damaged or changed; its features are computed again")
                path.unlink(missing_ok=True)
                continue
            for i, digest in enumerate(map(bytes, shard["digest"])):
                row = rows.setdefault(digest, _Row(digest, shard["hash"][i], shard["thumb"][i], {}))
                row.values[int(shard["view"][i])] = shard["value"][i]
        return rows

    def _write(self, rows: Sequence[_Row]) -> None:
        each = [(row, view, value) for row in rows for view, value in row.values.items()]
        digests = b"".join(row.digest for row, _, _ in each)
        file = BytesIO()
        np.savez(
            file,
            digest=np.frombuffer(digests, np.uint8).reshape(len(each), -1),
            view=np.array([view for _, view, _ in each], np.uint8),
            value=np.stack([value for _, _, value in each]),
            hash=np.stack([row.hash for row, _, _ in each]),
            thumb=np.stack([row.thumb for row, _, _ in each]),
        )
        data = file.getvalue()
        name = hashlib.sha256(data).hexdigest()[:24]
        with replacing(self.folder / f"{name}.npz") as path:
            path.write_bytes(data)

    def _compute(
        self, todo: dict[str, tuple[bytes, list[int]]], rows: dict[bytes, _Row]
    ) -> tuple[str, dict[str, ImageError]]:
        """Compute features into `rows` and the cache; return the backend, and the errors."""
        errors: dict[str, ImageError] = {}
        done: list[_Row] = []
        saved = 0
        save_at = time.monotonic() + _SHARD_SECONDS
        hide = not sys.stderr.isatty()
        with StopRequest() as stop:
            bundle = self._bundle()
            opened = open_backend("auto", bundle)
            facts = read_facts(bundle)

            def prepare(item: tuple[str, tuple[bytes, list[int]]]) -> _Prepared | None:
                path, (digest, views) = item
                try:
                    return _prepare(path, digest, views, facts.pipeline, facts.to_input)
                except ImageError as error:
                    errors[path] = error
                    return None

            with (
                closing(map_ahead(prepare, todo.items(), core_count(), 2 * _BATCH)) as prepared,
                tqdm(
                    desc="features", total=len(todo), unit="image", leave=False, disable=hide
                ) as bar,
            ):
                try:
                    for batch in _batches(prepared):
                        values = opened.engine.run(np.concatenate([one.images for one in batch]))
                        if not np.isfinite(values).all():
                            raise RunError(f"{self.weights}: the features are not finite")
                        done += _rows(batch, values)
                        bar.update(len(batch))
                        if len(done) - saved >= _SHARD or time.monotonic() > save_at:
                            self._write(done[saved:])
                            saved, save_at = len(done), time.monotonic() + _SHARD_SECONDS
                        stop.check(
                            f"stopped: the features of {len(done)} of {len(todo)} images are "
                            "kept; the same command continues there"
                        )
                finally:
                    if done[saved:]:
                        self._write(done[saved:])
        for row in done:
            rows.setdefault(row.digest, row).values.update(row.values)
        return str(opened), errors

    def _bundle(self) -> Path:
        """Return the exported network, and export it first if the cache lacks it."""
        folder = self.folder / "bundle"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{folder}.lock").acquire()
        except OSError as error:
            raise RunError(
                f"{self.folder}: cannot write the cache: {error.strerror or error}; PPCLS_HOME "
                "names another folder for it"
            ) from None
        with lock:
            if is_complete(folder):
                return folder
            model = classifier_of(self.config.Arch.name, self.weights, None, self.config.Arch.head)
            width = model.state_dict()[f"{model.head}.bias"].shape[0]
            config = without_data(self.config)
            infer = config.Infer.model_copy(update={"PostProcess": Topk()})
            config = config.model_copy(
                update={
                    "Arch": config.Arch.model_copy(update={"class_num": width}),
                    "Infer": infer,
                    "Global": config.Global.model_copy(
                        update={"save_inference_dir": str(folder), "pretrained_model": None}
                    ),
                }
            )
            try:
                export(config, model=model, onnx=has_onnx())
            except (BundleError, RunError) as error:
                if not has_onnx():
                    raise
                self.notes.append(f"features without ONNX, so with Paddle: {error}")
                export(config, model=model)
        return folder


def _batches(prepared: Iterable[_Prepared | None]) -> Iterator[list[_Prepared]]:
    """Yield groups of images with about `_BATCH` views together, without the unreadable ones."""
    batch: list[_Prepared] = []
    for one in prepared:
        if one is not None:
            batch.append(one)
        if sum(len(each.views) for each in batch) >= _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _rows(batch: Sequence[_Prepared], values: np.ndarray) -> list[_Row]:
    """Return the rows of a batch from the features, float32 (N, D), of all its views in order."""
    ends = np.cumsum([len(one.views) for one in batch])
    parts = np.split(values, ends[:-1])
    return [
        _Row(one.digest, one.hash, one.thumb, dict(zip(one.views, part, strict=True)))
        for one, part in zip(batch, parts, strict=True)
    ]


def _digests(paths: Sequence[str]) -> tuple[list[bytes | None], list[ImageError | None]]:
    """Return the SHA-256 of each file, or why it cannot be read."""

    def read(path: str) -> tuple[bytes | None, ImageError | None]:
        try:
            return bytes.fromhex(sha256(Path(path))), None
        except OSError as error:
            return None, ImageError(f"cannot read the image: {error.strerror}", path)

    found = list(map_ahead(read, paths, core_count()))
    return [digest for digest, _ in found], [error for _, error in found]


def _header_problem(path: str) -> tuple[str, ImageError | None]:
    try:
        read_header(path)
    except ImageError as error:
        return path, error
    return path, None


def _unreadable(errors: Sequence[ImageError], total: int) -> DataError:
    lines = [str(error) for error in errors[:_NAMED]]
    if len(errors) > _NAMED:
        lines.append(f"and {len(errors) - _NAMED} more")
    return DataError(
        *lines,
        f"{len(errors)} of {total} images cannot be read; remove or replace them, or leave them "
        "out with --skip-broken (skip_broken=True)",
    )


def _prepare(
    path: str,
    digest: bytes,
    views: list[int],
    pipeline: Pipeline,
    to_input: Callable[[np.ndarray], np.ndarray],
) -> _Prepared:
    """Read an image once and make all of its views.

    Raises:
        ImageError: it cannot be read or transformed.
    """
    rng = np.random.default_rng(0)  # evaluation transforms draw nothing
    try:
        decoded = pipeline.image_ops[0](path, rng)
        whole = pipeline(decoded, rng)
        height, width = whole.shape[:2]
        crop = RandCropImage(size=[width, height], scale=[0.5, 1.0])
        images = []
        for view in views:
            if view in CROPS:
                drawn = np.random.default_rng((view, *digest[:8]))
                images.append(crop(decoded, drawn))
            else:
                images.append(cv2.flip(whole, 1) if view == FLIPPED else whole)
        gray = cv2.cvtColor(whole, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(gray, (_HASH + 1, _HASH), interpolation=cv2.INTER_AREA).astype(int)
        thumb = cv2.resize(whole, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)
    except (cv2.error, MemoryError) as error:
        reason = str(error) or "not enough memory"
        raise ImageError(f"the image cannot be transformed: {reason}", path) from None
    try:
        changed = sha256(Path(path)) != digest.hex()
    except OSError:
        changed = True
    if changed:  # its features would be kept under the wrong content
        raise ImageError("the file changed while it was read", path)
    hashed = (small[:, 1:] > small[:, :-1]).ravel()
    return _Prepared(digest, views, to_input(np.stack(images)), hashed, thumb.ravel())
