"""Read a confusion matrix: which classes a model confuses, and where to look first.

    ppcls eval -c output/fine_tuned/HarDNet39_ds/config.yaml \\
        -o Global.pretrained_model=output/fine_tuned/HarDNet39_ds/best_model --report report
    python examples/confusion_matrix.py report

`report/confusion.png` is the plot of the same matrix.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def read_matrix(report: Path) -> tuple[list[str], np.ndarray]:
    """Return the names of C classes and the counts, int64 (C, C), one row a true class."""
    with (report / "confusion.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return header[1:], np.array([row[1:] for row in rows], np.int64)


def read_aloud(names: list[str], counts: np.ndarray) -> list[str]:
    """Return a summary of the matrix in sentences."""
    # On the diagonal the prediction is the true class.
    right = np.diag(counts)
    said = [f"{right.sum()} of {counts.sum()} images are right ({right.sum() / counts.sum():.1%})."]

    # A row counts the images of one class. The share that the model finds is the recall.
    of_class = counts.sum(axis=1)
    recall = right / np.maximum(of_class, 1)
    worst = int(np.argmin(np.where(of_class > 0, recall, np.inf)))
    said.append(
        f"The class missed most often is {names[worst]}: {recall[worst]:.1%} of its "
        f"{of_class[worst]} images are found (recall)."
    )

    # A column counts the predictions of one class. The share that is right is the precision.
    answered = counts.sum(axis=0)
    precision = right / np.maximum(answered, 1)
    least = int(np.argmin(np.where(answered > 0, precision, np.inf)))
    said.append(
        f"The least reliable prediction is {names[least]}: {precision[least]:.1%} of its "
        f"{answered[least]} predictions are right (precision)."
    )
    for name in (name for name, count in zip(names, answered, strict=True) if count == 0):
        said.append(f"No image is predicted as {name}.")

    # Off the diagonal are the mistakes. Two classes confused both ways look alike to the model.
    # If they are confused only one way, one class often has few or mislabelled images.
    wrong = counts - np.diag(right)
    for flat in np.argsort(-wrong, axis=None, kind="stable")[:5]:
        true, answer = divmod(int(flat), len(names))
        if wrong[true, answer]:
            said.append(
                f"{wrong[true, answer]} of {of_class[true]} images of {names[true]} are mistaken "
                f"for {names[answer]}, and {wrong[answer, true]} the other way round."
            )
    return said


def main(argv: Sequence[str] | None = None) -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="a folder written by `ppcls eval --report`")
    print("\n".join(read_aloud(*read_matrix(parser.parse_args(argv).report))))
    print("Next, look at mistakes.png in the same folder: wrong labels show up there first.")


if __name__ == "__main__":
    main()
