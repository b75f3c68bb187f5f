"""The report of an evaluation: tables and plots of its results."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppcls.evaluation.results import Evaluation
from ppcls.files import replacing
from ppcls.metrics.answers import Answers, LabelSets
from ppcls.metrics.multi_label import (
    LabelRow,
    decided,
    label_rows,
    micro_means,
    precision_recall_curve,
)
from ppcls.metrics.single_label import (
    Calibration,
    ClassRow,
    calibrate,
    class_rows,
    confused_pairs,
    confusion_matrix,
    macro_means,
)
from ppcls.pictures.evaluation import (
    confusion_picture,
    precision_recall_picture,
    reliability_diagram,
)
from ppcls.pictures.figures import shorten
from ppcls.pictures.tiles import Tile, tile_grid
from ppcls.printable import printable

__all__ = ["class_table", "report_data", "rows_of", "write_class_rows", "write_report"]

_LARGEST_MATRIX = 2000  # classes; no program opens, and nobody reads, a larger matrix
_MISTAKES = 48
_ROWS = 20
_PICTURES = {
    "confusion.png": "Confusion matrix",
    "precision_recall.png": "Precision and recall",
    "reliability.png": "Confidence and accuracy",
    "mistakes.png": "The worst mistakes",
}
_OPTIONAL = (
    "confused.csv",
    "confusion.csv",
    "confusion.png",
    "precision_recall.png",
    "mistakes.png",
)

Rows = Sequence[ClassRow] | Sequence[LabelRow]


def rows_of(found: Evaluation) -> Rows:
    """Return one row for each class: precision, recall, F1, and more for multi-label images."""
    if isinstance(found.answers, LabelSets):
        return label_rows(found.answers, found.names, found.threshold)
    return class_rows(found.answers, found.names)


def class_table(rows: Rows) -> str:
    """Return the rows as aligned text."""

    def number(value: float | None) -> str:
        return f"{'-':>9}" if value is None else f"{value:9.4f}"

    width = max(5, min(32, max(len(printable(row.name)) for row in rows)))
    lines = [f"{'class':<{width}} {'precision':>9} {'recall':>9} {'f1':>9} {'support':>8}"]
    for row in rows:
        numbers = " ".join(number(v) for v in (row.precision, row.recall, row.f1))
        lines.append(f"{printable(row.name)[:width]:<{width}} {numbers} {row.support:8}")
    return "\n".join(lines)


def _calibration(found: Evaluation) -> Calibration:
    answers = found.answers
    if isinstance(answers, LabelSets):
        scores, labels = answers.scores[answers.read], answers.labels[answers.read]
        given = scores > 0.5
        confidence = np.where(given, scores, 1 - scores)
        return calibrate(confidence.ravel(), (given == labels).ravel())
    return calibrate(answers.confidence[answers.read], ~answers.wrong[answers.read])


def report_data(found: Evaluation) -> dict[str, Any]:
    """Return means, macro means, calibration error and class rows as JSON data."""
    rows = rows_of(found)
    data = {
        "images": found.count,
        "unreadable": found.unreadable,
        **found.means,
        "macro": macro_means(rows),
        "calibration_error": _calibration(found).error,
        "classes": [row._asdict() for row in rows],
        "seconds": found.seconds,
    }
    if isinstance(found.answers, LabelSets):
        data["micro"] = micro_means(found.answers, found.threshold)
        data["threshold"] = found.threshold
    return data


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    how: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
    with replacing(path) as temporary, temporary.open("w", **how) as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def write_class_rows(path: Path, rows: Rows) -> None:
    """Write the rows as a CSV file; undefined values are empty."""
    _write_csv(path, rows[0]._fields, rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return a Markdown table."""

    def cell(value: object) -> str:
        if isinstance(value, float):
            return f"{value:.4f}"
        return "" if value is None else printable(value).replace("|", "\\|")

    lines = [header, ["---"] * len(header), *([cell(value) for value in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _markdown(found: Evaluation, pictures: Sequence[tuple[str, str]]) -> list[str]:
    data, rows, names = report_data(found), rows_of(found), found.names
    numbers: list[tuple[str, object]] = [("images", found.count)]
    if found.unreadable:
        numbers.append(("unreadable images, counted as wrong", found.unreadable))
    numbers += [(name, f"{mean:.5f}") for name, mean in found.means.items()]
    for kind in ("macro", "micro"):
        numbers += [(f"{kind} {k}", f"{v:.5f}") for k, v in data.get(kind, {}).items()]
    numbers.append(("expected calibration error", f"{data['calibration_error']:.5f}"))
    lines = ["# Evaluation", "", *_table(("", ""), numbers)]
    if found.warning:
        lines += ["", f"**Warning:** {found.warning}"]

    weakest = sorted((row for row in rows if row.f1 is not None), key=lambda row: row.f1 or 0.0)
    few = len(rows) <= _ROWS
    lines += ["", "## Classes, weakest first" if few else f"## The {_ROWS} weakest classes", ""]
    columns = ["name", "precision", "recall", "f1", "support"]
    if isinstance(found.answers, LabelSets):
        columns += ["average_precision", "best_threshold", "best_f1"]
    chosen = [[getattr(row, column) for column in columns] for row in weakest[:_ROWS]]
    lines += _table([column.replace("_", " ") for column in columns], chosen)
    lines += ["", "All classes: [classes.csv](classes.csv)."]

    if isinstance(found.answers, Answers):
        pairs = confused_pairs(found.answers)[:_ROWS]
        if pairs:
            lines += ["", "## Confused classes", ""]
            lines += _table(
                ("true class", "predicted as", "images", "share of the class"),
                [(names[p.label], names[p.predicted], p.count, p.share) for p in pairs],
            )
    for title, file in pictures:
        lines += ["", f"## {title}", "", f"![{title}]({file})"]
    return [*lines, "", "Every image with its prediction, worst first: [answers.csv](answers.csv)."]


def _write_single(
    folder: Path,
    answers: Answers,
    names: Sequence[str],
    path_of: Callable[[int], str],
) -> list[tuple[int, str]]:
    """Write the files for single-label images; return the mistakes and their captions."""
    pairs = confused_pairs(answers)
    _write_csv(
        folder / "confused.csv",
        ("label", "name", "predicted", "predicted_name", "count", "share"),
        [
            (p.label, names[p.label], p.predicted, names[p.predicted], p.count, p.share)
            for p in pairs
        ],
    )
    if len(names) <= _LARGEST_MATRIX:
        matrix = confusion_matrix(answers, len(names))
        _write_csv(
            folder / "confusion.csv",
            ("true \\ predicted", *names),
            [(name, *counts) for name, counts in zip(names, matrix.tolist(), strict=True)],
        )
        confusion_picture(matrix, names, folder / "confusion.png")
    worst_first = np.argsort(-answers.surprise, kind="stable")
    worst_first = worst_first[np.argsort(~answers.wrong[worst_first], kind="stable")]

    def row(i: int) -> tuple[object, ...]:
        path, label = path_of(int(answers.index[i])), answers.label[i]
        if not answers.read[i]:
            return (path, label, names[label], "", "unreadable", "", "", "")
        predicted = answers.predicted[i]
        numbers = (f"{answers.confidence[i]:.6f}", answers.rank[i], f"{answers.surprise[i]:.6f}")
        return (path, label, names[label], predicted, names[predicted], *numbers)

    _write_csv(
        folder / "answers.csv",
        ("image", "label", "name", "predicted", "predicted_name", "confidence", "rank", "surprise"),
        map(row, worst_first.tolist()),
    )
    mistakes = [i for i in worst_first.tolist() if answers.wrong[i] and answers.read[i]]
    return [
        (
            int(answers.index[i]),
            f"{shorten(names[answers.predicted[i]], 17)} {answers.confidence[i]:.2f}\n"
            f"is {shorten(names[answers.label[i]], 19)}",
        )
        for i in mistakes[:_MISTAKES]
    ]


def _write_multi(
    folder: Path,
    found: LabelSets,
    names: Sequence[str],
    threshold: float | Sequence[float],
    path_of: Callable[[int], str],
) -> list[tuple[int, str]]:
    """Write the files for multi-label images; return the mistakes and their captions."""
    curves = [
        (name, precision_recall_curve(labels, scores))
        for name, labels, scores in zip(names, found.labels.T, found.scores.T, strict=True)
        if labels.any()
    ]
    precision_recall_picture(
        [(name, precision, recall) for name, (precision, recall, _) in curves],
        folder / "precision_recall.png",
    )
    given = decided(found.scores, threshold)
    error = np.where(given != found.labels, np.abs(found.scores - found.labels), 0.0)
    error[~found.read] = 2.0
    worst_first = np.argsort(-error.max(1), kind="stable").tolist()

    def row(i: int) -> tuple[object, ...]:
        has = [names[c] for c in np.flatnonzero(found.labels[i]).tolist()]
        got = [f"{names[c]} {found.scores[i, c]:.4f}" for c in np.flatnonzero(given[i]).tolist()]
        path = path_of(int(found.index[i]))
        return (path, "; ".join(has), "; ".join(got) if found.read[i] else "unreadable")

    _write_csv(folder / "answers.csv", ("image", "labels", "predicted"), map(row, worst_first))
    mistakes = []
    for i in worst_first:
        if found.read[i] and error[i].max() > 0:
            c = int(error[i].argmax())
            claim = "has" if found.labels[i, c] else "has not"
            caption = f"{shorten(names[c], 17)} {found.scores[i, c]:.2f}\n{claim} it"
            mistakes.append((int(found.index[i]), caption))
    return mistakes[:_MISTAKES]


def write_report(
    folder: str | Path,
    found: Evaluation,
    path_of: Callable[[int], str],
    image_of: Callable[[int], np.ndarray],
) -> None:
    """Write the files of a report; replace those of an earlier one.

    All reports have `report.md` for reading, `report.json` for programs, `classes.csv`,
    `answers.csv` (every image, worst mistake first), `reliability.png` and `mistakes.png`.
    Single-label images add `confusion.csv` (a row for each true class, up to 2000 classes),
    `confusion.png` and `confused.csv`; multi-label images add `precision_recall.png`.

    Args:
        folder: the folder of the report; created if missing.
        found: the evaluation.
        path_of: returns the path of the image at an index of the data set.
        image_of: returns that image as the model sees it, uint8 (H, W, C).

    Raises:
        RunError: the folder cannot be written.
    """
    folder = Path(folder)
    for name in _OPTIONAL:
        (folder / name).unlink(missing_ok=True)
    write_class_rows(folder / "classes.csv", rows_of(found))
    if isinstance(found.answers, LabelSets):
        mistakes = _write_multi(folder, found.answers, found.names, found.threshold, path_of)
    else:
        mistakes = _write_single(folder, found.answers, found.names, path_of)
    if mistakes:
        tiles = [Tile(image_of(index), caption, wrong=True) for index, caption in mistakes]
        tile_grid(tiles, folder / "mistakes.png")
    reliability_diagram(_calibration(found), folder / "reliability.png")
    with replacing(folder / "report.json") as file:
        text = json.dumps(report_data(found), ensure_ascii=False, indent=1)
        file.write_text(text + "\n", encoding="utf-8")
    pictures = [(title, name) for name, title in _PICTURES.items() if (folder / name).exists()]
    with replacing(folder / "report.md") as file:
        file.write_text("\n".join(_markdown(found, pictures)) + "\n", encoding="utf-8")
