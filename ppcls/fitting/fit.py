"""`fit`: a folder of images becomes a trained, exported and measured model."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ppcls.checkpoints.run_folder import RunFolder, locked
from ppcls.config.from_checkpoint import RUN_CONFIG
from ppcls.distributed import on_device, world_size
from ppcls.errors import ConfigError
from ppcls.evaluation.report import rows_of
from ppcls.evaluation.results import Evaluation
from ppcls.fitting.choice import (
    Choice,
    Curve,
    Proportion,
    choose,
    fit_all,
    learning_curve,
)
from ppcls.fitting.features import (
    CROPS,
    FLIPPED,
    WHOLE,
)
from ppcls.fitting.finetune import fine_tune
from ppcls.fitting.look import Notes, Seen, look
from ppcls.fitting.output import (
    draw_curve,
    evaluation_of,
    export_checked,
    mark,
    refuse_earlier,
    unchanged,
    write_evaluation,
    write_lists,
    write_run,
)
from ppcls.fitting.photos import Photos, read_photos
from ppcls.fitting.recipe import recipe_config, recipe_text
from ppcls.fitting.result import FitResult
from ppcls.models.catalogue import list_models, model_card
from ppcls.version import __version__

__all__ = ["DEFAULT_MODEL", "fit"]

DEFAULT_MODEL = "SqueezeNet1_1"
"""The smallest network with published weights: 5 MB to download, and the fastest of all."""

_LEAST_SIZE = 32
_VIEWS = {WHOLE: "whole", FLIPPED: "flipped"}


def fit(
    photos: str | Path,
    out: str | Path | None = None,
    *,
    model: str | Sequence[str] | None = None,
    weights: str | Path | None = None,
    size: int | None = None,
    val: str | Path | float | None = None,
    finetune: bool = False,
    minutes: float | None = None,
    seed: int = 0,
    skip_broken: bool = False,
    overwrite: bool = False,
    plugins: Sequence[str] = (),
) -> FitResult:
    """Fit a linear classifier on the features of a pretrained network, and export the model.

    The features of each image are computed once and kept in the cache (`$PPCLS_HOME/features`).
    Cross-validation chooses the strength of the penalty, and whether flipped (and, of few images,
    cropped) images help. The result is an ordinary run in `out/<architecture>`, a bundle in
    `out/inference`, and a report in `out/report`. A second fit replaces the first; a run that has
    been trained since is replaced only with `overwrite`.

    Args:
        photos: a folder with a sub-folder of images for each class, split or not.
        out: the output folder; None is `output/<name of photos>`.
        model: the architecture; of several, the best by cross-validation is kept. None is
            SqueezeNet1_1, or the one that the name of the weights file begins with.
        weights: a file, a URL, or the name of published weights (`ssld`); None is the published
            ImageNet weights.
        size: side of the images in pixels; None is the architecture's.
        val: a folder of validation images, or the share of each class to hold out; None is a fifth.
        finetune: then train all layers, and keep the better model.
        minutes: the time for fine-tuning; None ends it when it no longer helps.
        seed: of the split, the folds and the fine-tuning.
        skip_broken: leave out unreadable images.
        overwrite: replace a run that has been trained.
        plugins: as `Global.plugins`, for the configuration of the run.

    Raises:
        ConfigError: no such architecture, the options do not fit together, or the output folder
            holds an earlier run or is among the images.
        DataError: the folder is wrong: no classes, too few images, unreadable ones.
        WeightsError: the weights are not available, or are made for another architecture.
        RunError: the output or the cache cannot be written, or the parity check fails.
        Stopped: a signal stopped it; features and checkpoints so far are kept.
    """
    start = time.perf_counter()
    _check_options(size, finetune, minutes, seed)
    names = _models(model, weights)
    found = read_photos(photos, val)
    target = Path(out).expanduser() if out is not None else _default_out(found.root)
    _refuse_inside(target, found)
    for name in names:
        refuse_earlier(RunFolder(target / name), overwrite)
    notes = Notes()
    notes.add(*found.notes)
    with on_device("auto") as device:
        seen = [look(name, weights, size, found, seed, skip_broken, notes) for name in names]
        key = _fingerprint(seen, target, seed)
        if not (finetune or overwrite):
            for one in seen:
                earlier = unchanged(RunFolder(target / one.name), key)
                if earlier:
                    notes.add("nothing has changed since the last fit: this is its result")
                    total = time.perf_counter() - start
                    seconds = {"features": one.features.seconds, "linear": total, "total": total}
                    return replace(
                        earlier, computed=one.features.computed, seconds=seconds, notes=notes.lines
                    )
        choices = [_choose(one, notes) for one in seen]
        best, choice = min(zip(seen, choices, strict=True), key=lambda pair: _cost(pair[1]))
        linear = fit_all(best.training, choice)
        curve = learning_curve(best.training, choice, best.ordered)
        data, run = best.data, RunFolder(target / best.name)
        logits = linear(best.features.values[WHOLE][data.val])
        labels = np.array([data.samples[i].label for i in data.val])
        paths = [data.samples[i].path for i in data.val]
        bundle, place = target / "inference", target / "report"
        with locked(run.path):
            text = recipe_text(
                best.name,
                write_lists(run.path, found, data.samples, data.train, data.val),
                target,
                pretrained=True,
                fitted=True,
                plugins=plugins,
                size=size,
                head=best.config.Arch.head,
                flips=FLIPPED in choice.views,
                seed=seed,
            )
            folder = f"Global.save_inference_dir={json.dumps(str(bundle))}"
            config = recipe_config(text, [folder])
            evaluation = evaluation_of(logits, labels, config, found.names)
            network = write_run(run, config, found.names, best.weights, linear, evaluation, device)
            export_checked(config, network, paths, logits)
        linear_seconds = time.perf_counter() - start
        fine_tuned = None
        if finetune:
            fine_tuned, evaluation, lines = fine_tune(run, config, evaluation, minutes)
            notes.add(*lines)
        write_evaluation(place, evaluation, config, paths)
        draw_curve(curve, place / "learning_curve.png")
        if fine_tuned is None:
            draw_curve(curve, run.path / "curves.png")
        result = _result(
            found,
            seen,
            choices,
            best,
            choice,
            logits,
            evaluation,
            curve,
            run,
            target,
            fine_tuned,
            notes,
        )
        seconds = {
            "features": sum(one.features.seconds for one in seen),
            "linear": linear_seconds,
            "total": time.perf_counter() - start,
        }
        result = replace(result, seconds=seconds)
        mark(run, key, result)
    return result


def _check_options(size: int | None, finetune: bool, minutes: float | None, seed: int) -> None:
    """Raise `ConfigError` for options of `fit` out of range, or that do not fit together."""
    if minutes is not None and not finetune:
        raise ConfigError(
            "fit: minutes (--minutes) is the time for finetune (--finetune): add it, or leave "
            "minutes out"
        )
    if minutes is not None and not 0 < minutes < math.inf:
        raise ConfigError(f"fit: minutes must be above 0, not {minutes:g}")
    if size is not None and not (isinstance(size, int) and size >= _LEAST_SIZE):
        raise ConfigError(f"fit: size is a side of at least {_LEAST_SIZE} pixels, not {size!r}")
    if not (isinstance(seed, int) and 0 <= seed < 2**32):
        raise ConfigError(f"fit: seed is a whole number from 0 to {2**32 - 1}, not {seed!r}")
    if world_size() > 1:
        raise ConfigError("fit runs in one process; start it without paddle.distributed.launch")


def _models(model: str | Sequence[str] | None, weights: str | Path | None) -> list[str]:
    """Return the architectures to try.

    Raises:
        ConfigError: there is no such architecture, or one file of weights for several.
    """
    if model is None:
        names = [DEFAULT_MODEL]
        if weights is not None:
            # A file is usually named after its architecture; another one is refused when loaded.
            stem = str(weights).replace("\\", "/").rpartition("/")[2]
            named = [name for name in list_models() if stem.startswith(name)]
            names = sorted(named, key=len)[-1:] or names
    else:
        names = [model] if isinstance(model, str) else list(dict.fromkeys(model))
    if not names:
        raise ConfigError("fit: no architecture is named; leave model out for the default")
    for name in names:
        model_card(name)
    if len(names) > 1 and weights is not None:
        raise ConfigError(
            f"fit: weights ({weights}) are for one architecture, but model names {len(names)}; "
            "leave one of them out"
        )
    return names


def _default_out(root: Path) -> Path:
    return Path("output") / (root.resolve().name or "photos")


def _refuse_inside(target: Path, photos: Photos) -> None:
    """Raise `ConfigError` if the output folder would become one of the classes."""
    place = target.resolve()
    for root in (photos.root, photos.val_root):
        if place.is_relative_to(root.resolve()):
            raise ConfigError(
                f"{target}: is inside the folder of the images, {root}; name an output folder "
                "elsewhere (OUT)"
            )


def _choose(seen: Seen, notes: Notes) -> Choice:
    choice = choose(seen.training, seen.views)
    width = seen.training.values[WHOLE].shape[1]
    views = " with flips" if FLIPPED in choice.views else ""
    views += " and crops" if len(choice.views) > len(_VIEWS) else ""
    if choice.accuracy is None:
        notes.add(
            f"linear classifier on {width} features{views}; no cross-validation, because a class "
            "has a single training picture"
        )
    else:
        notes.add(
            f"linear classifier on {width} features{views}, cross-validated "
            f"{choice.accuracy.value:.4f}"
        )
    return choice


def _cost(choice: Choice) -> float:
    return np.inf if choice.loss is None else choice.loss


def _fingerprint(seen: Sequence[Seen], target: Path, seed: int) -> str:
    """Return a text that changes with everything that the result of a fit depends on."""
    made_of: list[Any] = [__version__, str(target.resolve()), seed]
    for one in seen:
        digests = one.features.digests
        for part in (one.data.train, one.data.val):
            made_of.append(
                [(s.path, s.label, digests[i].hex()) for i in part for s in [one.data.samples[i]]]
            )
        made_of.append([one.key, str(one.weights)])
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def _result(
    photos: Photos,
    seen: Sequence[Seen],
    choices: Sequence[Choice],
    best: Seen,
    choice: Choice,
    logits: np.ndarray,
    evaluation: Evaluation,
    curve: Curve | None,
    run: RunFolder,
    target: Path,
    fine_tuned: float | None,
    notes: Notes,
) -> FitResult:
    """Return the result; `logits` are those of the linear classifier, float64 (N, C)."""
    data = best.data
    rows, cross = rows_of(evaluation), choice.accuracy
    found = Proportion(round(evaluation.means["top1"] * evaluation.count), evaluation.count)
    was_right = logits.argmax(axis=1) == np.array([data.samples[i].label for i in data.val])
    apart = np.isin(data.val, [j for _, j in data.straddling], invert=True)
    return FitResult(
        model=best.name,
        classes=photos.names,
        folder=run.path,
        best=Path(f"{run.checkpoint('best_model')}.pdparams"),
        bundle=target / "inference",
        report=target / "report",
        config=run.path / RUN_CONFIG,
        train=len(data.train),
        val=found.total,
        accuracy=found.value,
        interval=found.interval,
        cross_validated=cross.value if cross else None,
        cross_validated_interval=cross.interval if cross else None,
        twice=curve.twice if curve else None,
        guess=max(row.support for row in rows) / found.total,
        linear=float(was_right.mean()),
        fine_tuned=fine_tuned,
        copies=[(data.samples[i].path, data.samples[j].path) for i, j in data.straddling],
        without_copies=float(was_right[apart].mean()) if 0 < apart.sum() < len(apart) else None,
        strength=choice.strength,
        views=[_VIEWS.get(view, "crops") for view in choice.views if view <= CROPS[0]],
        tried={
            one.name: tried.accuracy.value if tried.accuracy else None
            for one, tried in zip(seen, choices, strict=True)
        },
        unreadable=[str(error) for error in best.features.unreadable],
        computed=sum(one.features.computed for one in seen),
        seconds={},
        notes=notes.lines,
        per_class=[row._asdict() for row in rows],
    )
