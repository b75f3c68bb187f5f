"""Distillation: the losses by their definitions, what learns, and what a run leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from scipy.special import log_softmax, softmax

import ppcls
from ppcls.cli import main
from ppcls.config import load_config
from ppcls.data.tools.digits import write_digits
from ppcls.errors import ConfigError
from ppcls.evaluation.evaluate import evaluate
from ppcls.losses.base import weighted_sum
from ppcls.losses.distillation import (
    DistillationCELoss,
    DistillationDistanceLoss,
    DistillationDMLLoss,
    DistillationGTCELoss,
    DistillationKLDivLoss,
)
from ppcls.models.weight_files import read_weights
from ppcls.models.weights import save_weights
from ppcls.training.dry_run import check_evaluation
from ppcls.training.train import train

PAIR = [["Student", "Teacher"]]


def test_the_losses_are_their_definitions() -> None:
    rng = np.random.default_rng(0)
    s, t = rng.normal(size=(2, 5, 4)).astype("f4")
    labels = rng.integers(0, 4, 5)
    outputs = {
        "Student": {None: paddle.to_tensor(s), "base": paddle.to_tensor(s[:2])},
        "Teacher": {None: paddle.to_tensor(t), "base": paddle.to_tensor(t[:2])},
    }

    def kl(p: np.ndarray, q: np.ndarray) -> float:
        return float((softmax(q, 1) * (log_softmax(q, 1) - log_softmax(p, 1))).sum(1).mean())

    ce = -log_softmax(s, 1)[np.arange(5), labels].mean()
    cases = [
        (DistillationGTCELoss(model_names=["Student"], weight=2.0), 2 * ce),
        (
            DistillationCELoss(model_name_pairs=PAIR),
            -(softmax(t, 1) * log_softmax(s, 1)).sum(1).mean(),
        ),
        (DistillationKLDivLoss(model_name_pairs=PAIR), 16 * kl(s / 4, t / 4)),
        (
            DistillationDMLLoss(model_name_pairs=PAIR, key="logits"),
            (kl(s, t) + kl(t, s)) / 2,
        ),
        (
            DistillationDistanceLoss(model_name_pairs=PAIR, key="base"),
            ((s - t)[:2] ** 2).mean(),
        ),
        (DistillationDistanceLoss(model_name_pairs=PAIR, mode="l1"), np.abs(s - t).mean()),
    ]
    for term, value in cases:
        found = weighted_sum([term])(outputs, paddle.to_tensor(labels))
        assert found.item() == pytest.approx(float(value), rel=1e-4), term
    both = weighted_sum([term for term, _ in cases])(outputs, paddle.to_tensor(labels))
    assert both.item() == pytest.approx(sum(float(value) for _, value in cases), rel=1e-4)


@pytest.fixture
def distilling(overrides: list[str], tmp_path: Path) -> list[str]:
    """A teacher with random weights and a student of the same architecture."""
    paddle.seed(1)
    save_weights(ppcls.create_model("SqueezeNet1_1", class_num=3), tmp_path / "teacher.pdparams")
    model = "{name: SqueezeNet1_1, return_patterns: [_conv]}"
    return [
        *[o for o in overrides if not o.startswith("Arch.")],
        f"Arch={{name: DistillationModel, class_num: 3, freeze_params_list: [true, false], "
        f"pretrained_list: [{json.dumps(str(tmp_path / 'teacher'))}, null], "
        f"models: [{{Teacher: {model}}}, {{Student: {model}}}]}}",
        "Loss.Train=[{DistillationGTCELoss: {model_names: [Student]}}, "
        "{DistillationDMLLoss: {model_name_pairs: [[Student, Teacher]]}}, "
        "{DistillationDistanceLoss: {key: _conv, model_name_pairs: [[Student, Teacher]]}}]",
        "Loss.Eval=[{DistillationGTCELoss: {model_names: [Student]}}]",
        "Metric.Train=[{DistillationTopkAcc: {model_key: Student, topk: [1]}}]",
        "Metric.Eval=[{DistillationTopkAcc: {model_key: Student, topk: [1]}}]",
        "Optimizer={name: AdamW, lr: {name: Constant, learning_rate: 0.001}}",
    ]


@pytest.mark.training
def test_a_student_is_trained_and_deployed_and_its_teacher_stays(
    config_file: Path, distilling: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    result = train(load_config(config_file, [*distilling, "EMA.decay=0.5"]))
    assert result.best == result.folder / "best_model_student.pdparams"
    student, both = read_weights(result.best), read_weights(result.folder / "best_model")
    assert {k.partition(".")[0] for k in both} == {"Teacher", "Student"}
    assert all((both[f"Student.{k}"] == v).all() for k, v in student.items())
    teacher = read_weights(tmp_path / "teacher")
    assert all((both[f"Teacher.{k}"] == v).all() for k, v in teacher.items())
    assert not all((student[k] == v).all() for k, v in teacher.items())
    log = (result.folder / "train.log").read_text()
    assert "Teacher: SqueezeNet1_1, frozen, from " in log
    assert "Student: SqueezeNet1_1, from scratch" in log
    # The run's own configuration evaluates and exports the student.
    weights = f"Global.pretrained_model={result.best}"
    (line,) = check_evaluation(load_config(result.folder / "config.yaml", [weights]))
    assert "3 logits each" in line
    found = evaluate(load_config(result.folder / "config.yaml", [weights]))
    assert found.means["top1"] == result.best_metric
    export = ["export", "-c", str(result.folder / "config.yaml"), "-o", weights]
    assert main([*export, f"Global.save_inference_dir={tmp_path / 'student'}"]) == 0
    capsys.readouterr()
    assert (tmp_path / "student/inference.yml").is_file()
    assert main(["export", str(result.folder / "best_model")]) == 1
    told = capsys.readouterr().err
    assert "holds the models of a distillation, Student and Teacher, not a single Squeeze" in told
    assert told.endswith(f"; {result.best} holds the model that was kept\n")


@pytest.mark.training
def test_a_distillation_resumes_exactly(
    config_file: Path, distilling: list[str], tmp_path: Path
) -> None:
    whole = train(load_config(config_file, distilling)).folder
    more = [*distilling, f"Global.output_dir={tmp_path / 'again'}"]
    more.append(f"Global.checkpoints={whole / 'epoch_1'}")
    (tmp_path / "teacher.pdparams").unlink()  # The checkpoint holds it.
    again = train(load_config(config_file, more)).folder
    expected, found = read_weights(whole / "latest"), read_weights(again / "latest")
    assert all((expected[key] == found[key]).all() for key in expected)
    # By the run's own configuration, which names no weights.
    more = ["Global.checkpoints=auto", "Global.epochs=3"]
    train(load_config(again / "config.yaml", more))
    assert (
        "Teacher: SqueezeNet1_1, frozen, from the checkpoint" in (again / "train.log").read_text()
    )


@pytest.mark.training
def test_two_students_teach_each_other(config_file: Path, distilling: list[str]) -> None:
    more = ["Arch.freeze_params_list=null", "Arch.pretrained_list=null", "Global.epochs=1"]
    more.append("Loss.Train.0.DistillationGTCELoss.model_names=[Student, Teacher]")
    result = train(load_config(config_file, [*distilling, *more]))
    paddle.seed(0)
    both = read_weights(result.folder / "best_model")
    # Biases start at zero: both models have moved.
    assert both["Teacher._conv9.bias"].any()
    assert both["Student._conv9.bias"].any()


@pytest.mark.training
def test_images_without_labels(config_file: Path, distilling: list[str], colours: Path) -> None:
    more = [
        f"DataLoader.Train.dataset={{name: UnlabeledDataset, image_root: {json.dumps(str(colours))}"
        ", transform_ops: [{DecodeImage: }, {ResizeImage: {size: 32}}, {NormalizeImage: }]}",
        "DataLoader.Train.dataset.batch_transform_ops=[{MixupOperator: {alpha: 0.2}}]",
        "Loss.Train=[{DistillationDMLLoss: {model_name_pairs: [[Student, Teacher]]}}]",
        "Metric.Train=null",
        "Global.epochs=1",
    ]
    result = train(load_config(config_file, [*distilling, *more]))
    assert ": 36 images, 5 batches an epoch" in (result.folder / "train.log").read_text()
    assert result.best_metric is not None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("Arch.infer_model_name=Stdent", "no model 'Stdent' here; did you mean 'Student'?"),
        ("Arch.infer_model_name=Teacher", "infer_model_name: Teacher is frozen"),
        ("Arch.freeze_params_list=[true]", "freeze_params_list has 1 entries for 2 models"),
        ("Arch.pretrained=true", "pretrained is an option of each model: write it in Arch.models"),
        ("Arch.models.0.Teacher.nme=x", "Arch.models.0.Teacher.nme: unknown key; did you mean"),
        ("Arch.models.1.Student.name=SqueezNet1_1", "called 'SqueezNet1_1'; did you mean 'Squ"),
        ("Arch.models.1.Student.class_num=5", "Student has 5 classes, but Arch.class_num is 3"),
        (
            "Loss.Train.1.DistillationDMLLoss.model_name_pairs=[[Student, Techer]]",
            "Loss.Train: DistillationDMLLoss: no model 'Techer' in Arch.models; did you mean 'Tea",
        ),
        (
            "Loss.Train.2.DistillationDistanceLoss.key=_conv8",
            "'_conv8' is not one of return_patterns of Student",
        ),
        ("Loss.Train=[{CELoss: }]", "Loss.Train: CELoss names no model; use DistillationGTCELoss"),
        ("Arch={name: SqueezeNet1_1}", "needs DistillationModel, not SqueezeNet1_1"),
        ("Metric.Eval.0.DistillationTopkAcc.model_key=Teacher", "is evaluated, not 'Teacher'"),
        (
            "DataLoader.Train.dataset.name=UnlabeledDataset",
            "Loss.Train: DistillationGTCELoss is for images with one class each, but "
            "DataLoader.Train.dataset is UnlabeledDataset; losses of model_name_pairs fit",
        ),
        ("Global.to_static=true", "Global.to_static: does not support a distillation"),
    ],
)
def test_mistakes_are_named(
    config_file: Path, distilling: list[str], override: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(config_file, [*distilling, override])
    assert message in str(error.value)


def test_mistakes_that_only_the_models_show(config_file: Path, distilling: list[str]) -> None:
    for override, message in (
        ("Arch.pretrained_list=null", "Teacher is frozen and has no weights"),
        (
            "Arch.models.1.Student.return_patterns=[_conv, _con8]",
            "Student: return_patterns: SqueezeNet1_1 has no layer '_con8'; did you mean '_con",
        ),
        ("Global.pretrained_model=w", "pretrained weights of each model in Arch.models"),
    ):
        with pytest.raises(ConfigError, match=message):
            train(load_config(config_file, [*distilling, override]))


def ten_of_each_class(digits: Path) -> Path:
    """Write a list of ten images of each class, over and over, as long as the whole list is."""
    chosen: dict[str, list[str]] = {}
    lines = (digits / "train_list.txt").read_text().splitlines()
    for line in lines:
        chosen.setdefault(line.rpartition(" ")[2], []).append(line)
    few = [line for of_class in chosen.values() for line in of_class[:10]]
    path = digits / "few_list.txt"
    path.write_text("\n".join(few * (len(lines) // len(few))) + "\n")
    return path


@pytest.mark.training
@pytest.mark.slow
def test_a_student_learns_more_from_a_teacher_than_from_labels(tmp_path: Path) -> None:
    """The same hundred digits and as many steps, for five seeds: from a teacher, from labels."""
    digits = tmp_path / "digits"
    write_digits(digits)
    overrides = [f"Global.output_dir={tmp_path / 'teacher'}", "Arch.name=HarDNet68"]
    config = load_config("quick_start/HarDNet39_ds", [*overrides, "Global.epochs=4"], data=digits)
    teacher = train(config).best
    few = ten_of_each_class(digits)
    losses = {
        "labels": "{DistillationGTCELoss: {model_names: [Student]}}",
        "teacher": f"{{DistillationKLDivLoss: {{temperature: 2, model_name_pairs: {PAIR}}}}}",
    }
    found: dict[str, list[float]] = {name: [] for name in losses}
    for seed in range(5):
        for name, loss in losses.items():
            config = load_config(
                "Distillation/digits",
                [
                    "Arch.models=[{Teacher: {name: HarDNet68}}, {Student: {name: HarDNet39_ds}}]",
                    f"Arch.pretrained_list.0={json.dumps(str(teacher))}",
                    f"DataLoader.Train.dataset.cls_label_path={few}",
                    f"Loss.Train=[{loss}]",
                    "Optimizer={name: Momentum, lr: {name: Cosine, learning_rate: 0.05}}",
                    "Global.epochs=2",
                    "Global.eval_interval=2",
                    f"Global.seed={seed}",
                    f"Global.output_dir={tmp_path / name / str(seed)}",
                ],
                data=digits,
            )
            result = train(config)
            assert result.best_metric is not None
            found[name].append(result.best_metric)
    print(found)
    assert np.mean(found["teacher"]) > np.mean(found["labels"])
