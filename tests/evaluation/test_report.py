"""An evaluation's tables are those of scikit-learn, its files are complete, its pictures drawn."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import precision_recall_fscore_support

import ppcls
from ppcls.cli import main
from ppcls.config import load_config
from ppcls.evaluation.answer_log import AnswerLog
from ppcls.evaluation.report import class_table
from ppcls.losses.base import weighted_sum
from ppcls.losses.classification import CELoss
from ppcls.metrics.answers import Answers
from ppcls.metrics.single_label import (
    calibrate,
    class_rows,
    confused_pairs,
    confusion_matrix,
    macro_means,
)
from ppcls.models.weights import save_weights
from ppcls.pictures.evaluation import confusion_picture


def collect(logits: np.ndarray, labels: np.ndarray, size: int) -> tuple[float, Answers]:
    """The loss and the answers, added in batches of a size."""
    log, loss_of = AnswerLog(), weighted_sum([CELoss()])
    for i in range(0, len(labels), size):
        x, y = (paddle.to_tensor(each[i : i + size]) for each in (logits, labels))
        # The loss in float64, so that its mean over many images is not that of a processor's sum.
        x = x.astype("float64")
        log.add(loss_of(x, y), x, y, np.arange(i, i + len(y)))
    collected = log.collected()
    assert collected is not None
    return math.fsum(collected[0]) / len(labels), collected[1]


@pytest.fixture(scope="module")
def scored() -> tuple[np.ndarray, np.ndarray]:
    """Logits for 500 images of 6 classes; nothing is of class 5, nothing is taken for class 0."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 500)
    logits = rng.normal(size=(500, 6)).astype("float32")
    logits[np.arange(500), labels] += 1
    logits[:, 0] -= 9
    return logits, labels


@pytest.mark.parametrize("size", [1, 7, 500])
def test_answers_are_exact_for_any_batches(scored: tuple, size: int) -> None:
    logits, labels = scored
    shifted = np.exp(logits.astype("float64"))
    p = shifted / shifted.sum(1, keepdims=True)
    loss, answers = collect(logits, labels, size)
    assert loss == pytest.approx(-np.log(p[np.arange(500), labels]).mean(), rel=1e-12)
    assert answers.index.tolist() == list(range(500))
    assert (answers.predicted == logits.argmax(1)).all()
    assert answers.confidence == pytest.approx(p.max(1), rel=1e-5)
    assert answers.surprise == pytest.approx(-np.log(p[np.arange(500), labels]), rel=1e-4)
    ranks = (logits > logits[np.arange(500), labels][:, None]).sum(1)
    for k in (1, 2, 6):
        assert answers.topk(k) == (ranks < k).mean()


def test_of_equal_logits_the_lower_class_comes_first() -> None:
    _, answers = collect(np.zeros((3, 4), "float32"), np.array([0, 1, 3]), 3)
    assert answers.rank.tolist() == [0, 1, 3]
    assert answers.predicted.tolist() == [0, 0, 0]


def test_the_tables_are_those_of_scikit_learn(scored: tuple) -> None:
    logits, labels = scored
    _, answers = collect(logits, labels, 64)
    rows = class_rows(answers, list("abcdef"))
    expected = precision_recall_fscore_support(
        labels, logits.argmax(1), labels=range(6), zero_division=0
    )
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [getattr(r, name) or 0 for r in rows] == pytest.approx(values.tolist())
    assert (rows[0].precision, rows[0].recall, rows[5].recall) == (None, 0.0, None)
    macro = precision_recall_fscore_support(
        labels, logits.argmax(1), labels=range(5), average="macro", zero_division=0
    )
    assert list(macro_means(rows).values()) == pytest.approx(list(macro[:3]))
    matrix = confusion_matrix(answers, 6)
    assert (matrix == sklearn_confusion(labels, logits.argmax(1), labels=range(6))).all()
    pairs = confused_pairs(answers)
    assert sum(p.count for p in pairs) == answers.wrong.sum()
    assert pairs[0].count == (matrix - np.diag(np.diag(matrix))).max()
    assert pairs[0].share == pairs[0].count / rows[pairs[0].label].support
    header, first, *_ = class_table(rows).splitlines()
    assert header.split() == ["class", "precision", "recall", "f1", "support"]
    assert first.split() == ["a", "-", "0.0000", "0.0000", str(rows[0].support)]


def test_the_calibration_error_is_its_definition() -> None:
    # Half of the images are answered with 0.9 (8 in 10 right), half with 0.55 (6 in 10 right).
    confidence = np.repeat(np.array([0.9, 0.55], "float32"), 10)
    right = np.array([True] * 8 + [False] * 2 + [True] * 6 + [False] * 4)
    found = calibrate(confidence, right, bins=10)
    assert found.error == pytest.approx((0.1 + 0.05) / 2, rel=1e-5)
    assert found.count.tolist() == [0, 0, 0, 0, 0, 10, 0, 0, 10, 0]
    assert found.accuracy[[5, 8]].tolist() == [0.6, 0.8]


def test_a_report_has_every_file_and_every_image(
    config_file: Path,
    overrides: list[str],
    colours: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    model = ppcls.create_model("SqueezeNet1_1", class_num=3)
    save_weights(model, tmp_path / "w.pdparams")
    asked = [*overrides, f"Global.pretrained_model={tmp_path / 'w'}"]
    folder = tmp_path / "report"
    assert main(["eval", "-c", str(config_file), "-o", *asked, "--report", str(folder)]) == 0
    out, notes = capsys.readouterr()
    for held in (colours, colours / "red"):
        assert main(["eval", "-c", str(config_file), "-o", *asked, "--report", str(held)]) == 2
        assert f"{held}: this folder holds images of the data set" in capsys.readouterr().err
        assert not (held / "report.md").exists()
    assert "there are 3 classes: top5 of Metric is counted as top3" in notes
    assert "bleu pâle" in out
    assert f"report   {folder / 'report.md'}" in out
    names = {"answers.csv", "classes.csv", "confused.csv", "confusion.csv", "confusion.png"}
    names |= {"mistakes.png", "reliability.png", "report.json", "report.md"}
    assert {p.name for p in folder.iterdir()} == names
    for picture in folder.glob("*.png"):
        assert cv2.imread(str(picture)).std() > 1
    with (folder / "answers.csv").open(encoding="utf-8", newline="") as file:
        answers = list(csv.DictReader(file))
    listed = (
        Path(load_config(config_file, asked).DataLoader.Eval.dataset.cls_label_path)
    ).read_text()  # type: ignore[union-attr]
    assert len(answers) == len(listed.splitlines()) == 9
    assert all(Path(row["image"]).is_file() for row in answers)
    wrong = [row["label"] != row["predicted"] for row in answers]
    assert wrong == sorted(wrong, reverse=True)
    surprise = [
        float(row["surprise"]) for row, is_wrong in zip(answers, wrong, strict=True) if is_wrong
    ]
    assert surprise == sorted(surprise, reverse=True)
    with (folder / "confusion.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header[1:] == ["bleu pâle", "green", "red"]
    assert sum(int(n) for row in rows for n in row[1:]) == 9

    assert main(["eval", "-c", str(config_file), "-o", *asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    stored = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    for key in ("images", "loss", "top1", "top3", "macro", "calibration_error", "classes"):
        assert found[key] == stored[key]
    assert [row["name"] for row in found["classes"]] == ["bleu pâle", "green", "red"]


@pytest.mark.parametrize("classes", [2, 40, 130])
def test_confusion_is_drawn_for_few_and_for_many_classes(classes: int, tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 3, (classes, classes))
    names = [f"a class with a rather long name {i}, and a synonym" for i in range(classes)]
    confusion_picture(counts, names, tmp_path / "confusion.png")
    height, width = cv2.imread(str(tmp_path / "confusion.png")).shape[:2]
    assert width <= 3000
    assert height <= 1600
