"""A first look at the images: their features by a pretrained network, their copies, their split."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ppcls.config import Config, load_config
from ppcls.data.lists import Sample
from ppcls.errors import DataError, WeightsError
from ppcls.fitting.choice import Training, folds_of
from ppcls.fitting.features import CROPS, FLIPPED, WHOLE, Extractor, Features, needs_linear_head
from ppcls.fitting.photos import Photos, copies, groups_of, order, split
from ppcls.models.catalogue import list_models, model_card
from ppcls.models.download import cache_path
from ppcls.models.weights import locate_weights
from ppcls.printable import first_of, say

__all__ = ["Data", "Notes", "Seen", "look"]

_FEW = 200
"""With fewer images, crops are tried, too."""

_NAMED = 5


class Notes:
    """Lines for the user, shown as they come."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, *lines: str) -> None:
        """Show lines."""
        for line in lines:
            self.lines.append(line)
            say(line, sys.stderr)


@dataclass(frozen=True)
class Data:
    """The readable images, and their split.

    Attributes:
        samples: the images.
        train, val: int64 (N,), indices of the training and the validation images.
        groups: int64 (N,), the group of copies of each image.
        straddling: pairs of a training and a validation image that are copies of one picture.
    """

    samples: list[Sample]
    train: np.ndarray
    val: np.ndarray
    groups: np.ndarray
    straddling: list[tuple[int, int]]


@dataclass(frozen=True)
class Seen:
    """An architecture and its features of the images.

    Attributes:
        key: identifies weights and transforms.
        views: the sets of views to try.
        ordered: int64 (N,), an order of the training images by content.
    """

    name: str
    config: Config
    weights: Path
    key: str
    features: Features
    data: Data
    training: Training
    views: list[tuple[int, ...]]
    ordered: np.ndarray


def _find_weights(name: str, weights: str | Path | None) -> Path:
    """Return the file of the weights.

    Raises:
        WeightsError: there are none; the message lists the weights that the cache has.
    """
    card = model_card(name)
    try:
        return locate_weights(card, True if weights is None else str(weights))
    except WeightsError as error:
        if weights is not None:
            raise
        have = [
            other
            for other in list_models()
            for checkpoint in model_card(other).checkpoints
            if not checkpoint.variant and cache_path(checkpoint.url).is_file()
        ]
        listed = f"those of {', '.join(have)} (--model)" if have else "none"
        raise WeightsError(
            f"{error}, or name a file with --weights; weights in the cache: {listed}"
        ) from None


def look(
    name: str,
    weights: str | Path | None,
    size: int | None,
    photos: Photos,
    seed: int,
    skip_broken: bool,
    notes: Notes,
) -> Seen:
    """Read the features of all images, and split the images.

    Args:
        name: the architecture.
        weights: as in `fit`.
        size: side of the images in pixels; None is the architecture's.
        photos: the images.
        seed: of split and folds.
        skip_broken: leave out unreadable images.
        notes: takes lines for the user.

    Raises:
        WeightsError: the weights are not available, or are made for another architecture.
        DataError: images cannot be read, all are one picture, or too few are left.
        RunError: the cache cannot be written.
        Stopped: a signal stopped it.
    """
    path = _find_weights(name, weights)
    overrides = ["Arch.head=linear"] if needs_linear_head(name) else []
    overrides += [f"Global.image_size={size}"] if size else []
    config = load_config(name, overrides)
    extractor = Extractor(config, path)
    samples = [*photos.train, *(photos.val or ())]
    views = (WHOLE, FLIPPED, *(CROPS if len(photos.train) < _FEW else ()))
    height, width = config.image_size
    notes.add(
        f"{photos.root}: {len(samples)} images of {len(photos.names)} classes, {photos.source}",
        f"{name} with the weights {path}, {width}x{height} pixels",
    )
    features = extractor.read(
        [sample.path for sample in samples],
        [views] * len(photos.train) + [(WHOLE,)] * len(photos.val or ()),
        skip_broken=skip_broken,
    )
    notes.add(*extractor.notes)
    if features.unreadable:
        shown = "; ".join(str(error) for error in features.unreadable[:_NAMED])
        notes.add(f"left out {len(features.unreadable)} unreadable images: {shown}")
    source = f"{features.computed} images by {features.by}" if features.by else "all in the cache"
    notes.add(f"features  {source}, {features.seconds:.1f} s")
    data = _split(photos, samples, features, seed, notes)
    ordered = order([features.digests[i] for i in data.train], seed)
    labels = np.array([data.samples[i].label for i in data.train])
    training = Training(
        {view: values[data.train] for view, values in features.values.items()},
        labels,
        folds_of(labels, data.groups[data.train], ordered),
        len(photos.names),
    )
    tried = [views[:1], views[:2], views]
    key = extractor.folder.name
    return Seen(
        name, config, path, key, features, data, training, list(dict.fromkeys(tried)), ordered
    )


def _split(
    photos: Photos, samples: list[Sample], features: Features, seed: int, notes: Notes
) -> Data:
    """Split the readable images, and report copies of a picture.

    Raises:
        DataError: all images are one picture, or unreadable images leave too few.
    """
    kept = [samples[i] for i in features.kept]
    labels = np.array([sample.label for sample in kept])
    pairs = list(copies(features.digests, features.hashes, features.thumbs))
    groups = groups_of(len(kept), pairs)
    if len(np.unique(groups)) == 1:
        raise DataError(
            f"{photos.root}: all {len(kept)} images are the same picture, so there is nothing to "
            "tell apart"
        )
    first_val = np.searchsorted(features.kept, len(photos.train))
    is_val = np.arange(len(kept)) >= first_val
    counts = np.bincount(labels[~is_val], minlength=len(photos.names))
    least = 2 if photos.val is None else 1
    if counts.min() < least:
        raise DataError(
            f"{photos.root}: {counts.min()} readable training images of the class "
            f"{photos.names[int(counts.argmin())]}; add some"
        )
    if photos.val is None:
        is_val = split(labels, groups, features.digests, photos.share, seed)
    elif not is_val.any():
        raise DataError(f"{photos.val_root}: none of the validation images can be read")
    train, val = np.flatnonzero(~is_val), np.flatnonzero(is_val)
    straddling = _across(groups, train, val)
    conflicting = [(i, j) for i, j in pairs if labels[i] != labels[j]]
    for what, found in (
        (
            "validation images that are copies of training images, which flatters the accuracy",
            straddling,
        ),
        ("copies of one picture in different classes", conflicting),
    ):
        if found:
            shown = "; ".join(f"{kept[j].path} = {kept[i].path}" for i, j in found[:_NAMED])
            more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
            notes.add(f"warning: {what} ({len(found)}): {shown}{more}")
    missing = sorted(set(range(len(photos.names))) - set(labels[val].tolist()))
    if missing:
        names = first_of([photos.names[label] for label in missing], _NAMED)
        notes.add(f"warning: no validation images of the class {names}")
    return Data(kept, train, val, groups, straddling)


def _across(groups: np.ndarray, train: np.ndarray, val: np.ndarray) -> list[tuple[int, int]]:
    """Return a training image for each validation image that is a copy of one."""
    first = {int(groups[i]): int(i) for i in reversed(train.tolist())}
    return [(first[int(groups[j])], int(j)) for j in val.tolist() if int(groups[j]) in first]
