"""What a run is told before it begins, and at its end, about what it cannot or did not learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from ppcls.cli import main
from ppcls.config import load_config
from ppcls.data.lists import Sample
from ppcls.data.tools.check import coverage
from ppcls.errors import ConfigError, DataError
from ppcls.evaluation.results import Evaluation, collapse
from ppcls.losses.base import weighted_sum
from ppcls.losses.classification import CELoss, FocalLoss
from ppcls.metrics.answers import LabelSets
from ppcls.models.registry import create_model
from ppcls.training.dry_run import check_training
from ppcls.training.freeze import norms_of_single_values
from ppcls.training.train import train


def samples(*labels: int) -> list[Sample]:
    return [Sample("x", label) for label in labels]


def names(count: int) -> list[str]:
    return [str(i) for i in range(count)]


# Classes that training never shows ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "held_out", "classes", "expected"),
    [
        ((0, 1, 2), (0, 1, 2), 3, []),
        ((0, 1, 2), (1,), 3, []),
        (
            (0, 1),
            (0, 1, 2),
            3,
            ["1 class (2) in Eval, but not in Train: the model cannot learn to predict what"],
        ),
        (
            (1, 2, 3, 4),
            (1, 2, 3, 4),
            5,
            ["no image of 1 class (0): do the labels begin at 1?"],
        ),
        (
            (0, 1),
            (0, 1),
            1000,
            [
                "no image of 998 classes (2, 3, 4, 5, 6, …): the highest label is 1; is "
                "Arch.class_num (1000) right?"
            ],
        ),
        ((0, 2), (), 3, ["no image of 1 class (1)"]),
        ((-1, -1), (0,), 3, []),
    ],
)
def test_classes_without_images_are_named(
    train: tuple, held_out: tuple, classes: int, expected: list[str]
) -> None:
    found = coverage(
        {"Train": samples(*train), "Eval": samples(*held_out)}, classes, names(classes)
    )
    assert len(found) == len(expected)
    for line, beginning in zip(found, expected, strict=True):
        assert line.startswith(beginning)


@pytest.mark.parametrize(
    ("train", "held_out", "message"),
    [
        ((1, 2, 3), (0, 1, 2), "do those of Train begin at 1"),
        ((0, 1, 2), (1, 2, 3), "do those of Eval begin at 1"),
        ((0, 1), (2, 3), "0 to 1, and those of Eval 2 to 3, without a class in common"),
    ],
)
def test_lists_that_number_their_classes_differently_are_refused(
    train: tuple, held_out: tuple, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        coverage({"Train": samples(*train), "Eval": samples(*held_out)}, 5, names(5))


def test_labels_of_several_classes_are_covered_too() -> None:
    train, held_out = [Sample("x", (1, 0, 0)), Sample("x", (0, 1, 0))], [Sample("x", (1, 0, 1))]
    (line,) = coverage({"Train": train, "Eval": held_out}, 3, ["a", "b", "c"])
    assert line.startswith("1 class (2 (c)) in Eval, but not in Train")


def test_a_check_warns_and_data_check_does(
    config_file: Path, overrides: list[str], colours: Path, tmp_path: Path, capsys
) -> None:
    lines = (colours / "train_list.txt").read_text(encoding="utf-8").splitlines()
    short = tmp_path / "short.txt"
    short.write_text("".join(f"{line}\n" for line in lines if not line.endswith("1")), "utf-8")
    options = [*overrides, f"DataLoader.Train.dataset.cls_label_path={short}"]
    assert main(["train", "-c", str(config_file), "--check", "-o", *options]) == 0
    expected = "warning: 1 class (1 (green)) in Eval, but not in Train"
    assert expected in capsys.readouterr().out
    assert main(["data", "check", str(config_file), "-o", *options]) == 0
    assert expected in capsys.readouterr().out


# Runs that collapsed ------------------------------------------------------------------------------


def predictions(seed: int, count: int, classes: int, shares: list[float] | None = None):
    rng = np.random.default_rng(seed)
    label = rng.choice(classes, count, p=shares)
    return label, rng.uniform(0.3, 1.0, count)


def test_one_answer_for_all_images_is_named() -> None:
    label, confidence = predictions(0, 200, 4)
    one = np.full(200, 2)
    assert "predicts 'c' for 100% of the images, but" in collapse(label, one, confidence, [*"abcd"])
    same = collapse(label, one, np.full(200, 0.4), [*"abcd"])
    assert same.startswith("the network gives every image the same output: it has learned nothing")
    dead = collapse(label, np.zeros(200, int), np.full(200, 0.25), [*"abcd"])
    assert "equal logits for all classes" in dead
    for found in (same, dead):
        for advice in ("learning rate", "labels", "normalisation"):
            assert advice in found


def test_a_loss_at_chance_is_named_and_a_better_one_is_not() -> None:
    label, _ = predictions(0, 2000, 4)
    guessed, _ = predictions(1, 2000, 4)
    confidence = np.random.default_rng(2).uniform(0.25, 0.3, 2000)
    surprise = np.random.default_rng(3).normal(np.log(4), 0.1, 2000)
    found = collapse(label, guessed, confidence, [*"abcd"], surprise)
    assert "no better than chance: its loss is 1.38" in found
    assert collapse(label, guessed, confidence, [*"abcd"], surprise - 0.2) == ""
    half = np.where(np.arange(2000) % 3, guessed, label)
    assert collapse(label, half, confidence, [*"abcd"], surprise) == ""


def test_good_runs_and_uneven_lists_are_not_named() -> None:
    label, confidence = predictions(0, 500, 3, [0.9, 0.06, 0.04])
    assert collapse(label, label, confidence, [*"abc"], -np.log(confidence)) == ""
    # The largest class for all images is the best guess where it has most of them.
    assert collapse(label, np.zeros(500, int), confidence, [*"abc"]) == ""
    assert collapse(label, np.zeros(500, int), np.ones(500), [*"abc"]) == ""
    one = np.zeros(500, int)
    assert collapse(one, one, np.full(500, 0.9), [*"abc"]) == ""  # a list of one class
    assert collapse(label[:5], label[:5] * 0, confidence[:5], [*"abc"]) == ""


def test_the_same_scores_for_all_images_of_several_labels_are_named() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((20, 3)) < 0.5
    for scores, expected in ((rng.random((20, 3)), False), (np.full((20, 3), 0.4), True)):
        answers = LabelSets(np.arange(20), labels, scores.astype(np.float32), np.ones(20, bool))
        found = Evaluation({}, "mAP", answers, [*"abc"], 0.0)
        assert ("the same scores" in found.warning) == expected


@pytest.mark.training
def test_a_run_that_collapsed_ends_with_a_warning(
    config_file: Path, overrides: list[str], tmp_path: Path, capsys
) -> None:
    extra = ["Global.epochs=1", "Optimizer.lr.learning_rate=1e-9"]
    weights = create_model("SqueezeNet1_1", class_num=3).state_dict()
    dead = {key: value * 0 for key, value in weights.items()}
    paddle.save(dead, str(tmp_path / "dead.pdparams"))
    extra.append(f"Global.pretrained_model={tmp_path / 'dead'}")
    assert main(["train", "-c", str(config_file), "-o", *overrides, *extra]) == 0
    out = capsys.readouterr().out
    assert "warning  in the last evaluation, the network gives every image the same output" in out
    run = tmp_path / "output/SqueezeNet1_1"
    assert "warning: the network gives every image" in (run / "train.log").read_text()
    arguments = ["-c", str(run / "config.yaml"), "-o", f"Global.pretrained_model={run / 'latest'}"]
    report = tmp_path / "report"
    assert main(["eval", *arguments, "--json", "--report", str(report)]) == 0
    assert "warning: the network gives every image the same output" in capsys.readouterr().err
    assert "**Warning:** the network gives" in (report / "report.md").read_text(encoding="utf-8")


# Batch normalisation ------------------------------------------------------------------------------


def test_norms_of_single_values_are_found() -> None:
    model = create_model("HarDNet39_ds", class_num=3)
    assert len(norms_of_single_values(model, [3, 32, 32])) == 10
    assert norms_of_single_values(model, [3, 64, 64]) == []
    assert model.training
    for parameter in model.parameters():
        parameter.stop_gradient = True
    assert norms_of_single_values(model, [3, 32, 32]) == []  # frozen ones keep their statistics


def test_batches_of_one_image_are_refused_or_named(config_file: Path, overrides: list[str]) -> None:
    def check(size: int, *more: str) -> list[str]:
        batch = f"DataLoader.Train.sampler.batch_size={size}"
        arch = "Arch.name=HarDNet39_ds"
        return check_training(load_config(config_file, [*overrides, arch, batch, *more]))

    with pytest.raises(ConfigError, match="batches of one image, in which 10 batch normalisations"):
        check(1)
    (line,) = [line for line in check(13) if "1x1" in line]  # 27 images
    assert line.startswith("warning: the last batch of an epoch has one image")
    drop = "DataLoader.Train.sampler.drop_last=true"
    assert not any("1x1" in line for line in (*check(13, drop), *check(9)))
    check(1, "Arch.name=SqueezeNet1_1")  # has no batch normalisation


# Where a run writes -------------------------------------------------------------------------------


def test_a_run_does_not_write_among_its_images(
    config_file: Path, overrides: list[str], colours: Path, tmp_path: Path
) -> None:
    import shutil

    from ppcls.config import data_overrides

    photos = Path(shutil.copytree(colours, tmp_path / "photos"))
    before = sorted(photos.rglob("*"))
    for folder in (photos / "output", photos / "green", photos / "red/deep/output"):
        options = [*overrides, *data_overrides(photos), f"Global.output_dir={folder}"]
        config = load_config(config_file, options)
        for run in (train, check_training):
            with pytest.raises(ConfigError, match="which holds images of the data set: plots"):
                run(config)
    assert sorted(photos.rglob("*")) == before
    # Beside the folder with the lists is usual.
    options = [*overrides, *data_overrides(photos), f"Global.output_dir={tmp_path / 'output'}"]
    check_training(load_config(config_file, options))


# Balanced weights ---------------------------------------------------------------------------------


def test_balanced_weights_are_those_of_the_training_list() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [3] * 1)
    logits = paddle.to_tensor(np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32))
    expected = [10 / (4 * 6), 10 / (4 * 3), 0.0, 10 / 4]
    for loss, key in ((CELoss, "class_weights"), (FocalLoss, "alpha")):
        found = weighted_sum([loss(**{key: "balanced"})], samples(*labels.tolist()))
        given = weighted_sum([loss(**{key: expected})])
        target = paddle.to_tensor(labels)
        assert found(logits, target).item() == pytest.approx(given(logits, target).item())


def test_balanced_weights_are_for_training_only(config_file: Path, overrides: list[str]) -> None:
    balanced = "[{CELoss: {class_weights: balanced}}]"
    lines = check_training(load_config(config_file, [*overrides, f"Loss.Train={balanced}"]))
    assert "loss" in lines[1]
    with pytest.raises(ConfigError, match="balanced needs the training images"):
        load_config(config_file, [*overrides, f"Loss.Eval={balanced}"])
