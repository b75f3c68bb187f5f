"""Images with several labels: losses and metrics by their definitions, and a whole run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
    precision_recall_fscore_support,
)

from ppcls.cli import main
from ppcls.config import load_config
from ppcls.data.lists import Sample
from ppcls.errors import ConfigError
from ppcls.losses.base import weighted_sum
from ppcls.losses.multi_label import MultiLabelLoss
from ppcls.metrics.answers import LabelSets
from ppcls.metrics.multi_label import (
    AccuracyScore,
    HammingDistance,
    MultiLabelMAP,
    average_precision,
    label_rows,
    micro_means,
)
from ppcls.training.totals import Totals
from ppcls.training.train import train


@pytest.fixture(scope="module")
def scored() -> LabelSets:
    """200 images with 5 labels, of which no image has the last; many scores are equal."""
    rng = np.random.default_rng(0)
    labels = rng.random((200, 5)) < (0.5, 0.1, 0.3, 0.8, 0)
    scores = np.round(np.clip(rng.normal(0.35 + 0.3 * labels, 0.25), 0.01, 0.99), 2)
    return LabelSets(np.arange(200), labels, scores.astype("float32"), np.ones(200, bool))


def test_metrics_are_those_of_scikit_learn(scored: LabelSets) -> None:
    given = scored.scores > 0.3
    metrics = [
        HammingDistance(threshold=0.3),
        AccuracyScore(threshold=0.3),
        AccuracyScore(base="sample", threshold=0.3),
        MultiLabelMAP(),
    ]
    expected = {
        "HammingDistance": hamming_loss(scored.labels, given),
        "AccuracyScore": 1 - hamming_loss(scored.labels, given),
        "AccuracyScore_sample": accuracy_score(scored.labels, given),
        "MultiLabelMAP": average_precision_score(scored.labels[:, :4], scored.scores[:, :4]),
    }
    assert {m.key: m.value(scored) for m in metrics} == pytest.approx(expected)
    rows = label_rows(scored, list("abcde"), 0.3)
    sklearn = precision_recall_fscore_support(scored.labels, given, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), sklearn, strict=True):
        assert [getattr(r, name) or 0 for r in rows] == pytest.approx(values.tolist())
    assert (rows[4].recall, rows[4].average_precision, rows[4].best_f1) == (None, None, None)
    for row in rows[:4]:
        better = scored.scores[:, row.label] > row.best_threshold
        assert row.best_f1 == pytest.approx(f1_score(scored.labels[:, row.label], better))
        assert row.best_f1 >= (row.f1 or 0)
    assert micro_means(scored, 0.3)["f1"] == pytest.approx(
        f1_score(scored.labels, given, average="micro")
    )


def test_the_eleven_point_average_precision() -> None:
    # Ranked: right, wrong, right. Recall 0.5 is reached with precision 1, recall 1 with 2/3.
    labels, scores = np.array([True, False, True]), np.array([0.9, 0.8, 0.7], "f4")
    assert average_precision(labels, scores, "11point") == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert average_precision(labels, scores) == pytest.approx((1 + 2 / 3) / 2)


def test_training_totals_are_the_evaluations(scored: LabelSets) -> None:
    metrics = [HammingDistance(), AccuracyScore(), AccuracyScore(base="sample")]
    totals = Totals(metrics)
    logits = np.log(scored.scores / (1 - scored.scores))
    for part in np.split(np.arange(200), [3, 64]):
        x, y = paddle.to_tensor(logits[part]), paddle.to_tensor(scored.labels[part].astype("f4"))
        totals.add(weighted_sum([MultiLabelLoss()])(x, y), x, y)
    found = totals.means()
    p = scored.scores.astype("f8")
    expected = -np.where(scored.labels, np.log(p), np.log(1 - p)).mean()
    assert found.pop("loss") == pytest.approx(expected, rel=1e-5)
    assert found == pytest.approx({m.key: m.value(scored) for m in metrics})


def test_options_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(4, 3)).astype("f4"), (rng.random((4, 3)) < 0.5).astype("f4")
    samples = [Sample("", label) for label in ((0, 1, 1), (0, 0, 1), (1, 1, 0), (0, 0, 1))]
    ratio = np.array([0.25, 0.5, 0.75])

    def value(term: MultiLabelLoss) -> float:
        loss = weighted_sum([term], samples)(paddle.to_tensor(logits), paddle.to_tensor(labels))
        return loss.item()

    def costs(targets: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-logits.astype("f8")))
        return -(targets * np.log(p) + (1 - targets) * np.log(1 - p))

    assert value(MultiLabelLoss()) == pytest.approx(costs(labels).mean(), rel=1e-5)
    assert value(MultiLabelLoss(size_sum=True, weight=2.0)) == pytest.approx(
        2 * costs(labels).sum(1).mean(), rel=1e-5
    )
    smooth = 0.9 * labels + 0.1 / 3
    assert value(MultiLabelLoss(epsilon=0.1)) == pytest.approx(costs(smooth).mean(), rel=1e-5)
    weights = np.exp(np.where(labels > 0.5, 1 - ratio, ratio))
    assert value(MultiLabelLoss(weight_ratio=True)) == pytest.approx(
        (weights * costs(labels)).mean(), rel=1e-5
    )


@pytest.mark.training
def test_a_run_with_several_labels(
    config_file: Path, several: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    several.append("Optimizer={name: AdamW, lr: {name: Cosine, learning_rate: 0.001}}")
    several.append("DataLoader.Train.dataset.batch_transform_ops=[{MixupOperator: {alpha: 0.1}}]")
    config = load_config(config_file, [*several, "Global.epochs=8", "Metric.Train=null"])
    result = train(config)
    assert result.metric == "AccuracyScore_sample"
    assert result.best_metric is not None
    assert result.best_metric > 0.6  # always saying "cold and green" is right for two thirds
    capsys.readouterr()
    arguments = ["-c", str(config_file), "-o", *several, f"Global.pretrained_model={result.best}"]
    assert main(["eval", *arguments, "--json", "--report", str(tmp_path / "report")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["AccuracyScore_sample"] == result.best_metric
    assert [row["name"] for row in found["classes"]] == ["cold", "warm", "has green"]
    assert [row["support"] for row in found["classes"]] == [6, 3, 6]
    names = {"answers.csv", "classes.csv", "precision_recall.png", "reliability.png"}
    names |= {"report.json", "report.md"}
    assert {p.name for p in (tmp_path / "report").iterdir()} - {"mistakes.png"} == names
    with (tmp_path / "report/answers.csv").open(encoding="utf-8", newline="") as file:
        labels = sorted(row["labels"] for row in csv.DictReader(file))
    assert labels == ["cold; has green"] * 6 + ["warm"] * 3
    assert "cold" in (result.folder / "classes.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "Loss.Train=[{CELoss: }]",
            "Loss.Train: CELoss is for images with one class each, but DataLoader.Train.dataset is "
            "MultiLabelDataset; MultiLabelLoss fits",
        ),
        ("Metric.Eval=[{TopkAcc: }]", "Metric.Eval: TopkAcc is for images with one class each"),
        ("Metric.Train=[{MultiLabelMAP: }]", "Metric.Train: MultiLabelMAP needs the scores of all"),
        (
            "Loss.Eval=[{MultiLabelLoss: {weight_ratio: true}}]",
            "Loss.Eval: weight_ratio needs the training images",
        ),
        (
            "DataLoader.Eval.dataset.name=ImageNetDataset",
            "Loss.Eval: MultiLabelLoss is for images with several labels each, but "
            "DataLoader.Eval.dataset is ImageNetDataset; CELoss and FocalLoss fit",
        ),
    ],
)
def test_losses_and_metrics_must_fit_the_labels(
    config_file: Path, several: list[str], override: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(config_file, [*several, override])
    assert message in str(error.value)
