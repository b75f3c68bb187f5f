"""`ppcls train` without a configuration: the recipe fits the images, and is there to edit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import ppcls
from ppcls.cli import main
from ppcls.config import load_config
from ppcls.fitting.recipe import Lists, recipe_config, recipe_text
from ppcls.models.catalogue import list_models


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PPCLS_HOME", str(tmp_path / "home"))


@pytest.fixture
def photos(colours: Path, tmp_path: Path) -> Path:
    return shutil.copytree(colours, tmp_path / "my photos", ignore=shutil.ignore_patterns("*.txt"))


def lists(count: int) -> Lists:
    root = Path("a folder: with, signs")
    return Lists(
        root, root, root / "train.txt", root / "val.txt", root / "label_list.txt", count, 4
    )


@pytest.mark.parametrize("name", list_models())
def test_every_architecture_has_a_recipe(name: str) -> None:
    config = recipe_config(recipe_text(name, lists(500), Path("out"), pretrained=True, size=96))
    assert (config.Arch.name, config.Arch.class_num, config.Arch.pretrained) == (name, 4, True)
    assert config.DataLoader.Eval.dataset.cls_label_path == "a folder: with, signs/val.txt"
    assert config.DataLoader.Train.dataset.batch_transform_ops == []
    assert config.input_shape() == [3, 96, 96]
    # What is evaluated are the transforms of the published weights.
    ours, published = config.pipeline("Eval"), load_config(name, ["Global.image_size=96"])
    assert ours.gives_same(published.pipeline("Eval"))


def test_batches_and_epochs_follow_the_number_of_images() -> None:
    found = []
    for count in (3, 30, 300, 3000, 300_000):
        text = recipe_text("HarDNet68", lists(count), Path("out"), pretrained=True)
        config = recipe_config(text)
        sampler = config.DataLoader.Train.sampler
        assert sampler.batch_size <= count
        found.append((sampler.batch_size, config.Global.epochs))
    assert found == [(3, 60), (8, 60), (8, 20), (64, 16), (64, 10)]
    rates = {
        kind: recipe_config(
            recipe_text("HarDNet68", lists(300), Path("out"), **options)
        ).Optimizer.lr.learning_rate
        for kind, options in {
            "scratch": {"pretrained": False},
            "pretrained": {"pretrained": True},
            "fitted": {"pretrained": True, "fitted": True},
        }.items()
    }
    assert rates["pretrained"] == pytest.approx(0.3 * rates["scratch"], rel=0.05)
    assert rates["pretrained"] == pytest.approx(15 * rates["fitted"], rel=0.05)
    assert len(text.splitlines()) <= 15


@pytest.mark.training
def test_training_needs_no_yaml_and_writes_it_beside_the_run(
    photos: Path, capsys: pytest.CaptureFixture
) -> None:
    command = ["train", "--data", str(photos), "--model", "SqueezeNet1_1", "--from-scratch"]
    small = [*command, "--size", "32", "--epochs", "1"]
    with pytest.raises(SystemExit):
        main([*command, "--size", "0"])
    assert main(small) == 0
    said = capsys.readouterr()
    assert "from scratch (--from-scratch)" in said.err
    recipe, run = (
        Path("output/my photos/SqueezeNet1_1.yaml"),
        Path("output/my photos/SqueezeNet1_1"),
    )
    assert str(recipe) in said.err
    config = load_config(recipe)
    assert (config.Global.epochs, config.Global.image_size) == (1, 32)
    assert config.DataLoader.Train.dataset.image_root == str(photos)
    assert (run / "best_model.pdparams").is_file()
    # The same command resumes; another one does not replace a recipe that may have been edited.
    assert main([*small, "-o", "Global.checkpoints=auto"]) == 0
    assert "already finished" in capsys.readouterr().out
    assert main([*command, "--size", "32", "--epochs", "2"]) == 2
    assert f"train it with `ppcls train -c {recipe}`" in capsys.readouterr().err
    assert main(["train", "-c", str(recipe), "--check"]) == 0


def test_a_check_writes_no_recipe(photos: Path, capsys: pytest.CaptureFixture) -> None:
    ppcls.split_folder(photos)
    command = ["train", "--data", str(photos), "--model", "SqueezeNet1_1", "--from-scratch"]
    assert main([*command, "--size", "32", "--check"]) == 0
    assert "the first batch has 8 images, height 32" in capsys.readouterr().out
    assert not Path("output").exists()


def test_train_alone_shows_three_ways_to_begin(capsys: pytest.CaptureFixture) -> None:
    assert main(["train"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n  ppcls ") == 3
    assert "usage" not in said


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--data photos", "needs --model NAME, or a recipe"),
        ("--model HarDNet68", "needs --data"),
        ("-c HarDNet68 --model HarDNet68", "two recipes"),
        ("-c HarDNet68 --size 64", "-o Global.image_size=N"),
        ("-c HarDNet68 --epochs 6", "-o Global.epochs=N"),
        ("-c HarDNet68 --from-scratch", "-o Arch.pretrained=false"),
    ],
)
def test_options_that_do_not_fit_together(
    arguments: str, text: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["train", *arguments.split()]) == 2
    assert text in capsys.readouterr().err


def test_without_network_the_way_out_is_from_scratch(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from ppcls.models import download

    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr(download.fetch, "__defaults__", (download.Limits(pauses=()),))
    assert main(["train", "--data", str(photos), "--model", "HarDNet68"]) == 1
    said = capsys.readouterr().err
    assert "put the file at" in said
    assert "--from-scratch trains without them" in said
    assert not Path("output").exists()
