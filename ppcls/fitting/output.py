"""What a fit writes: lists, a run that goes on, an exported model, a report."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ppcls.bundle import read_bundle
from ppcls.checkpoints.files import copy_checkpoint, open_checkpoint, write_checkpoint
from ppcls.checkpoints.run_folder import RunFolder, claim_folder
from ppcls.config import Config, required
from ppcls.config.from_checkpoint import RUN_CONFIG
from ppcls.data.lists import LABEL_LIST, TRAIN_LIST, VAL_LIST, Sample
from ppcls.errors import BundleError, ConfigError, DataError, RunError, WeightsError
from ppcls.evaluation.report import rows_of, write_class_rows, write_report
from ppcls.evaluation.results import Evaluation
from ppcls.exporting.export import export
from ppcls.files import replacing
from ppcls.fitting.choice import Curve, cross_entropies
from ppcls.fitting.features import classifier_of
from ppcls.fitting.logistic import Linear
from ppcls.fitting.photos import Photos
from ppcls.fitting.recipe import Lists
from ppcls.fitting.result import FitResult
from ppcls.inference.predictor import Predictor
from ppcls.metrics.answers import Answers
from ppcls.metrics.base import parts_of
from ppcls.models.base import ImageClassifier
from ppcls.pictures.figures import save_figure
from ppcls.training.log import METRICS_FILE
from ppcls.training.precision import Precision
from ppcls.training.provenance import record_start
from ppcls.training.state import TrainState

__all__ = [
    "draw_curve",
    "evaluation_of",
    "export_checked",
    "mark",
    "refuse_earlier",
    "unchanged",
    "write_evaluation",
    "write_lists",
    "write_run",
]

_MARK = "fit.json"
"""Marks the folder of a run that a fit wrote."""

_CHECKED, _TOLERANCE = 16, 0.01
"""Images to compare, and the difference allowed, in standard deviations of the logits."""


def _is_untouched_fit(folder: Path) -> bool:
    """Whether a folder holds the run of a fit, and nobody has trained it since."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        latest = json.loads((folder / "latest.json").read_text(encoding="utf-8"))
        return (folder / _MARK).is_file() and latest["epoch"] == 0 and latest["step"] == 0
    return False


def refuse_earlier(run: RunFolder, overwrite: bool) -> None:
    """Stop before a fit replaces a training.

    Raises:
        ConfigError: the folder holds a run that has been trained, and `overwrite` is false.
    """
    holds = (run.path / RUN_CONFIG).exists() or run.prefixes()
    if holds and not overwrite and not _is_untouched_fit(run.path):
        raise ConfigError(
            f"{run.path} holds a run that has been trained; resume it with `ppcls train -c "
            f"{run.path / RUN_CONFIG} -o Global.checkpoints=auto`, name another output folder "
            "(OUT), or replace it with --overwrite (overwrite=True)"
        )


def write_lists(
    folder: Path, photos: Photos, samples: Sequence[Sample], train: np.ndarray, val: np.ndarray
) -> Lists:
    """Write the lists of a run into its folder.

    Args:
        folder: the folder.
        photos: the data set.
        samples: its readable images.
        train, val: int64 (N,), the indices of training and validation images.

    Raises:
        DataError: a file name is not UTF-8.
        RunError: the folder cannot be written.
    """
    root, val_root = photos.root.absolute(), photos.val_root.absolute()
    paths = {name: folder.absolute() / name for name in (TRAIN_LIST, VAL_LIST, LABEL_LIST)}
    lines = {
        TRAIN_LIST: [_line(samples[i], root) for i in train],
        VAL_LIST: [_line(samples[i], val_root) for i in val],
        LABEL_LIST: [f"{label} {name}" for label, name in enumerate(photos.names)],
    }
    for name, path in paths.items():
        text = "".join(f"{line}\n" for line in lines[name])
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            shown = text[error.start : error.end].encode(errors="backslashreplace").decode()
            raise DataError(
                f"{photos.root}: a file name with {shown} is not UTF-8; rename it"
            ) from None
        with replacing(path) as file:
            file.write_bytes(data)
    return Lists(
        root,
        val_root,
        paths[TRAIN_LIST],
        paths[VAL_LIST],
        paths[LABEL_LIST],
        len(train),
        len(photos.names),
    )


def _line(sample: Sample, root: Path) -> str:
    path = Path(sample.path).absolute()
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    return f"{inside.as_posix()} {sample.label}"


def evaluation_of(
    logits: np.ndarray, labels: np.ndarray, config: Config, names: Sequence[str]
) -> Evaluation:
    """Return the evaluation that logits, float64 (N, C), of validation images amount to.

    Args:
        logits: the logits.
        labels: int64 (N,).
        config: the metrics, and the number of classes.
        names: the class names.
    """
    start = time.perf_counter()
    rows = np.arange(len(labels))
    own = logits[rows, labels][:, None]
    before = np.arange(logits.shape[1]) < labels[:, None]
    surprise = cross_entropies(logits, labels)
    predicted = logits.argmax(axis=1)
    confidence = np.exp(-cross_entropies(logits, predicted))
    answers = Answers(
        rows.astype(np.int64),
        labels.astype(np.int64),
        predicted.astype(np.int64),
        confidence.astype(np.float32),
        ((logits > own) | ((logits == own) & before)).sum(axis=1).astype(np.int64),
        surprise.astype(np.float32),
    )
    means = {"loss": float(surprise.mean()), "top1": answers.topk(1)}
    for metric in parts_of(config.Metric.Eval, config.Arch.class_num):
        means[metric.key] = metric.value(answers)
    return Evaluation(means, "top1", answers, names, time.perf_counter() - start)


def write_run(
    run: RunFolder,
    config: Config,
    names: Sequence[str],
    weights: Path,
    linear: Linear,
    evaluation: Evaluation,
    device: str,
) -> ImageClassifier:
    """Write the folder of a run before its first epoch, with the classifier as its best model.

    `ppcls train -o Global.checkpoints=auto` resumes it, and keeps the classifier if training gives
    nothing better.

    Returns:
        The network with the classifier as its last layer.

    Raises:
        RunError: the folder cannot be written.
    """
    network = classifier_of(config.Arch.name, weights, config.Arch.class_num, config.Arch.head)
    state = network.state_dict()
    state[f"{network.head}.weight"].set_value(paddle.to_tensor(linear.weight, "float32"))
    state[f"{network.head}.bias"].set_value(paddle.to_tensor(linear.bias, "float32"))
    claim_folder(run, config, names, overwrite=True)
    record_start(run.path, device, plugins=config.Global.plugins)
    optimizer = required(config.Optimizer, "Optimizer", "ppcls fit").build(network)
    train = TrainState(network, optimizer, Precision(config.AMP, device), None)
    train.progress.best_metric = evaluation.score
    checkpoint = write_checkpoint(
        run.checkpoint("latest"), train.state_dict(), epoch=0, step=0, names=("best_model",)
    )
    copy_checkpoint(checkpoint, run.checkpoint("best_model"))
    write_class_rows(run.path / "classes.csv", rows_of(evaluation))
    with replacing(run.path / METRICS_FILE) as file:
        record = {"kind": "eval", "epoch": 0, **evaluation.means}
        file.write_text(json.dumps(record) + "\n", encoding="utf-8")
    with replacing(run.path / _MARK) as file:
        file.write_text("{}\n", encoding="utf-8")  # the result follows when all is written
    return network


def export_checked(
    config: Config, network: ImageClassifier, paths: Sequence[str], logits: np.ndarray
) -> None:
    """Export the network, and compare the bundle with the classifier on some images.

    The parity check compares the bundle with the network; this compares both with the features, on
    which all numbers of the fit rest.

    Args:
        config: the configuration.
        network: the network with its classifier.
        paths: validation images.
        logits: their logits by the classifier, float64 (N, C).

    Raises:
        RunError: the parity check fails, or the logits differ.
    """
    folder = export(config, model=network).folder
    some = np.unique(np.linspace(0, len(paths) - 1, _CHECKED).astype(int))
    with Predictor(folder, backend="paddle", device="auto") as predictor:
        results = list(predictor.predict_logits([paths[i] for i in some]))
    found = np.stack([result.logits for result in results if result.logits is not None])
    difference = float(np.abs(found - logits[some]).max() / (logits.std() or 1.0))
    if not difference < _TOLERANCE:
        raise RunError(
            f"{folder}: the exported model and the fitted classifier differ by {difference:.1e} "
            f"standard deviations of the logits (allowed {_TOLERANCE:g}); the images changed "
            "during the fit, or the features in the cache are wrong: fit again"
        )


def write_evaluation(
    folder: Path, evaluation: Evaluation, config: Config, paths: Sequence[str]
) -> None:
    """Write the report of an evaluation on validation images.

    Raises:
        RunError: the folder cannot be written.
    """
    pipeline, rng = config.pipeline("Eval"), np.random.default_rng(0)
    write_report(folder, evaluation, lambda i: paths[i], lambda i: pipeline(paths[i], rng))


def draw_curve(curve: Curve | None, picture: Path) -> None:
    """Draw accuracy over the number of training images; without a curve, remove an earlier plot.

    Raises:
        RunError: the file cannot be written.
    """
    if curve is None:
        picture.unlink(missing_ok=True)
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    counts, next_count = curve.counts, curve.expected_at
    axes.plot(counts, curve.accuracies, ".-", label="cross-validated")
    axes.plot([counts[-1], next_count], [curve.accuracies[-1], curve.twice], "o:", label="expected")
    axes.set(xscale="log", xlabel="training images", ylabel="accuracy")
    axes.set_xticks([*counts, next_count], [f"{count}" for count in (*counts, next_count)])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, picture)


def mark(run: RunFolder, key: str, result: FitResult) -> None:
    """Store the result of a fit with its fingerprint in the run's folder.

    Raises:
        RunError: the file cannot be written.
    """
    data = result.to_dict()
    with replacing(run.path / _MARK) as file:
        text = json.dumps({"key": key, "sha256": _checksum(data), "result": data})
        file.write_text(text + "\n", encoding="utf-8")


def _checksum(result: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()


def unchanged(run: RunFolder, key: str) -> FitResult | None:
    """Return the result of an earlier fit with this fingerprint, if all of its files are whole."""
    try:
        found = json.loads((run.path / _MARK).read_text(encoding="utf-8"))
        if found["key"] != key or found["sha256"] != _checksum(found["result"]):
            return None
        if not _is_untouched_fit(run.path):
            return None
        result = FitResult.from_dict(found["result"])
        open_checkpoint(run.checkpoint("best_model"))
        read_bundle(result.bundle)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, WeightsError, BundleError):
        return None
    whole = (result.config, result.report / "report.md")
    return result if all(path.is_file() for path in whole) else None
