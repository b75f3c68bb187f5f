"""What an evaluation says beyond its means: tables, calibration, mistakes, and their files.

Everything is made from `Answers`, so one pass over the images is enough.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ppcls.files import replacing
from ppcls.plots import Tile, confusion_picture, prediction_grid, reliability_diagram, shorten

if TYPE_CHECKING:
    from ppcls.engine.evaluate import Evaluation
    from ppcls.engine.metrics import Answers

__all__ = [
    "Calibration",
    "ClassRow",
    "Confusion",
    "calibrate",
    "class_rows",
    "class_table",
    "confused_pairs",
    "confusion_matrix",
    "macro_means",
    "report_data",
    "write_class_rows",
    "write_report",
]

_LARGEST_MATRIX = 2000  # classes; a matrix of more is neither read nor opened by anything
_MISTAKES = 48


class ClassRow(NamedTuple):
    """One class: how many images are of it and how many were taken for it, and how well.

    `precision` is None where nothing was taken for the class, `recall` where no image is of it, and
    `f1` where both hold.
    """

    label: int
    name: str
    support: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Confusion:
    """Images of `label` that were taken for `predicted`, and their share of those of `label`."""

    label: int
    predicted: int
    count: int
    share: float


@dataclass(frozen=True)
class Calibration:
    """How far confidence is from accuracy, in bins of equal width (arrays of one entry a bin).

    Attributes:
        edges: float64 (bins + 1,); a bin has its upper edge and not its lower one.
        count: int64, images in a bin.
        confidence: float64, their mean confidence; NaN in an empty bin.
        accuracy: float64, the share of them that is right; NaN in an empty bin.
        error: the expected calibration error, the mean over images of |accuracy - confidence| of
            their bin (https://arxiv.org/abs/1706.04599).
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def class_rows(answers: Answers, names: Sequence[str]) -> list[ClassRow]:
    """Return one row for each class, in their order."""
    classes = len(names)
    support = np.bincount(answers.label, minlength=classes).tolist()
    taken = np.bincount(answers.predicted, minlength=classes).tolist()
    right = np.bincount(answers.label[~answers.wrong], minlength=classes).tolist()
    return [
        ClassRow(
            label,
            name,
            support[label],
            taken[label],
            _ratio(right[label], taken[label]),
            _ratio(right[label], support[label]),
            _ratio(2 * right[label], support[label] + taken[label]),
        )
        for label, name in enumerate(names)
    ]


def macro_means(rows: Sequence[ClassRow]) -> dict[str, float]:
    """Return the means of `precision`, `recall` and `f1` over the classes that have images.

    A class that nothing was taken for counts with precision 0.
    """
    present = [row for row in rows if row.support]
    return {
        key: math.fsum(getattr(row, key) or 0.0 for row in present) / len(present)
        for key in ("precision", "recall", "f1")
    }


def confusion_matrix(answers: Answers, class_num: int) -> np.ndarray:
    """Return the counts int64 (class_num, class_num): a row a true class, a column an answer."""
    cells = answers.label * class_num + answers.predicted
    return np.bincount(cells, minlength=class_num**2).reshape(class_num, class_num)


def confused_pairs(answers: Answers) -> list[Confusion]:
    """Return what was taken for what, the most frequent first."""
    support = np.bincount(answers.label)
    wrong = np.stack([answers.label, answers.predicted], 1)[answers.wrong]
    pairs, counts = np.unique(wrong, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [
        Confusion(int(a), int(b), int(n), int(n) / int(support[a]))
        for (a, b), n in zip(pairs[order], counts[order], strict=True)
    ]


def calibrate(answers: Answers, bins: int = 15) -> Calibration:
    """Compare confidence with accuracy."""
    edges = np.linspace(0, 1, bins + 1)
    at = np.clip(np.searchsorted(edges, answers.confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(at, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(at, answers.confidence, minlength=bins) / count
        accuracy = np.bincount(at, ~answers.wrong, minlength=bins) / count
    gaps = np.nan_to_num(np.abs(accuracy - confidence))
    return Calibration(
        edges, count, confidence, accuracy, float((gaps * count).sum() / count.sum())
    )


def class_table(rows: Sequence[ClassRow]) -> str:
    """Return the rows as aligned text."""

    def number(value: float | None) -> str:
        return f"{'-':>9}" if value is None else f"{value:9.4f}"

    width = min(32, max(len(row.name) for row in rows))
    lines = [f"{'class':<{width}} {'precision':>9} {'recall':>9} {'f1':>9} {'support':>8}"]
    for row in rows:
        numbers = " ".join(number(v) for v in (row.precision, row.recall, row.f1))
        lines.append(f"{row.name[:width]:<{width}} {numbers} {row.support:8}")
    return "\n".join(lines)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def write_class_rows(path: Path, rows: Sequence[ClassRow]) -> None:
    """Write the rows as a CSV file; what is undefined is left empty."""
    _write_csv(path, ClassRow._fields, rows)


def report_data(found: Evaluation, names: Sequence[str]) -> dict[str, Any]:
    """Return the means, the macro means, the calibration error and the classes, as JSON can say."""
    rows = class_rows(found.answers, names)
    return {
        "images": found.count,
        **found.means,
        "macro": macro_means(rows),
        "calibration_error": calibrate(found.answers).error,
        "classes": [row._asdict() for row in rows],
        "seconds": found.seconds,
    }


def _markdown(found: Evaluation, names: Sequence[str], matrix: bool, mistakes: bool) -> str:
    data = report_data(found, names)
    rows = [ClassRow(**row) for row in data["classes"]]
    weakest = sorted((r for r in rows if r.f1 is not None), key=lambda r: r.f1 or 0.0)[:20]

    def cell(text: object) -> str:
        return str(text).replace("|", "\\|")

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4f}"

    lines = ["# Evaluation", "", "| | |", "|---|---|", f"| images | {found.count} |"]
    lines += [f"| {name} | {mean:.5f} |" for name, mean in found.means.items()]
    lines += [f"| macro {name} | {mean:.5f} |" for name, mean in data["macro"].items()]
    lines.append(f"| expected calibration error | {data['calibration_error']:.5f} |")
    shown = f"The {len(weakest)} weakest of {len(rows)} classes" if len(rows) > 20 else "Classes"
    lines += ["", f"## {shown}, by F1", ""]
    lines += ["| class | precision | recall | F1 | images |", "|---|---|---|---|---|"]
    lines += [
        f"| {cell(r.name)} | {number(r.precision)} | {number(r.recall)} | {number(r.f1)} "
        f"| {r.support} |"
        for r in weakest
    ]
    lines += ["", "All of them: [classes.csv](classes.csv)."]
    pairs = confused_pairs(found.answers)[:20]
    if pairs:
        lines += ["", "## What was taken for what", ""]
        lines += ["| is | taken for | images | of its class |", "|---|---|---|---|"]
        lines += [
            f"| {cell(names[p.label])} | {cell(names[p.predicted])} | {p.count} | {p.share:.1%} |"
            for p in pairs
        ]
    lines += ["", "![Confusion matrix](confusion.png)"] if matrix else []
    lines += ["", "## Confidence", "", "![Reliability diagram](reliability.png)"]
    if mistakes:
        lines += ["", "## The worst mistakes", "", "![The worst mistakes](mistakes.png)", ""]
        lines += ["Every image with its answer: [answers.csv](answers.csv), the worst first."]
    return "\n".join(lines) + "\n"


def write_report(
    folder: str | Path,
    found: Evaluation,
    names: Sequence[str],
    path_of: Callable[[int], str],
    image_of: Callable[[int], np.ndarray],
) -> None:
    """Write the files of a report; those of an earlier one are replaced.

    `report.md` for reading, `report.json` for machines, `classes.csv`, `confusion.csv` (a row a
    true class, up to 2000 classes), `confused.csv`, `answers.csv` (every image, the worst mistake
    first), `confusion.png`, `reliability.png` and `mistakes.png`.

    Args:
        folder: where to; it is made if it is missing.
        found: the evaluation.
        names: of the classes.
        path_of: gives the path of the image at an index of the data set.
        image_of: gives that image as the model saw it, uint8 (H, W, 3).

    Raises:
        RunError: the folder cannot be written.
    """
    folder, answers = Path(folder), found.answers
    rows = class_rows(answers, names)
    pairs = confused_pairs(answers)
    worst_first = np.argsort(-answers.surprise, kind="stable")
    worst_first = worst_first[np.argsort(~answers.wrong[worst_first], kind="stable")]
    mistakes = worst_first[: min(_MISTAKES, int(answers.wrong.sum()))].tolist()
    matrix = None

    write_class_rows(folder / "classes.csv", rows)
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
    _write_csv(
        folder / "answers.csv",
        ("image", "label", "name", "predicted", "predicted_name", "confidence", "rank", "surprise"),
        [
            (
                path_of(int(answers.index[i])),
                answers.label[i],
                names[answers.label[i]],
                answers.predicted[i],
                names[answers.predicted[i]],
                f"{answers.confidence[i]:.6f}",
                answers.rank[i],
                f"{answers.surprise[i]:.6f}",
            )
            for i in worst_first
        ],
    )
    reliability_diagram(calibrate(answers), folder / "reliability.png")
    if mistakes:
        tiles = [
            Tile(
                image_of(int(answers.index[i])),
                f"{shorten(names[answers.predicted[i]], 17)} {answers.confidence[i]:.2f}\n"
                f"is {shorten(names[answers.label[i]], 19)}",
                wrong=True,
            )
            for i in mistakes
        ]
        prediction_grid(tiles, folder / "mistakes.png")
    else:
        (folder / "mistakes.png").unlink(missing_ok=True)
    with replacing(folder / "report.json") as file:
        text = json.dumps(report_data(found, names), ensure_ascii=False, indent=1)
        file.write_text(text + "\n", encoding="utf-8")
    with replacing(folder / "report.md") as file:
        text = _markdown(found, names, matrix is not None, bool(mistakes))
        file.write_text(text, encoding="utf-8")
