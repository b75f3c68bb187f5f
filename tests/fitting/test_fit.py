"""A folder of images becomes a model whose numbers hold, and nothing is lost on the way."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import ppcls
from ppcls.checkpoints.run_folder import RunFolder
from ppcls.cli import main
from ppcls.config import load_config
from ppcls.errors import ConfigError, DataError, Stopped, WeightsError
from ppcls.evaluation.evaluate import evaluate
from ppcls.fitting.features import CROPS, FLIPPED, WHOLE, Extractor
from ppcls.fitting.fit import fit
from ppcls.fitting.output import unchanged

SIZE = 32


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pretrained weights, of a random network: colours can be told apart by them, too."""
    import paddle

    paddle.seed(0)
    path = tmp_path_factory.mktemp("weights") / "SqueezeNet1_1_random.pdparams"
    ppcls.save_weights(ppcls.create_model("SqueezeNet1_1"), path)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that all tests of this file share."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def in_home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PPCLS_HOME", str(home))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def photos(colours: Path, tmp_path: Path) -> Path:
    """Three classes of 12 images, without lists."""
    return shutil.copytree(colours, tmp_path / "photos", ignore=shutil.ignore_patterns("*.txt"))


def picture(path: Path, seed: int, colour: tuple[int, int, int] = (90, 90, 90)) -> Path:
    """Write a picture with large structures, as photographs have."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 40, (8, 8, 3)) + colour
    pixels = cv2.resize(coarse, (96, 96), interpolation=cv2.INTER_CUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imencode(path.suffix, np.clip(pixels, 0, 255).astype(np.uint8))[1].tofile(path)
    return path


# The whole way ------------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.training
def test_a_folder_becomes_a_run_and_a_bundle_that_every_command_reads(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["fit", str(photos), "out", "--weights", str(weights), "--size", str(SIZE)]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["classes"]) == ("SqueezeNet1_1", ["bleu pâle", "green", "red"])
    assert (found["train"], found["val"]) == (30, 6)
    assert found["accuracy"] == 1.0
    assert found["interval"] == pytest.approx([0.6097, 1.0], abs=1e-4)
    assert found["cross_validated"] > 0.9
    run = Path("out/SqueezeNet1_1")
    names = ["best_model.pdparams", "classes.csv", "config.yaml", "curves.png", "metrics.jsonl"]
    assert all((run / name).is_file() for name in names)
    assert Path("out/report/learning_curve.png").is_file()

    best = f"Global.pretrained_model={run / 'best_model'}"
    again = evaluate(load_config(run / "config.yaml", [best]))
    (record,) = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert again.means["top1"] == record["top1"] == found["accuracy"]
    assert again.means["loss"] == pytest.approx(record["loss"], rel=1e-3)

    with ppcls.Predictor("out/inference", backend="paddle") as predictor:
        held = [line.rpartition(" ") for line in (run / "val_list.txt").read_text().splitlines()]
        results = list(predictor.predict([photos / path for path, _, _ in held]))
    assert [r.class_ids[0] for r in results] == [int(label) for _, _, label in held]
    assert ppcls.Predictor("out/inference").facts.labels == found["classes"]
    assert main(["export", str(run / "best_model"), "exported"]) == 0

    more = ["Global.checkpoints=auto", "Global.epochs=1", "Optimizer.lr.warmup_epoch=0"]
    assert main(["train", "-c", str(run / "config.yaml"), "-o", *more]) == 0
    records = list(map(json.loads, (run / "metrics.jsonl").read_text().splitlines()))
    assert [r["epoch"] for r in records if r["kind"] == "eval"] == [0, 1]
    # Trained since: a fit does not replace it unasked.
    assert main(arguments) == 2
    assert "holds a run that has been trained" in capsys.readouterr().err


@pytest.mark.process
def test_only_new_images_are_computed_and_a_damaged_cache_is_found(
    photos: Path, weights: Path, home: Path, capsys: pytest.CaptureFixture
) -> None:
    options = {"weights": weights, "size": SIZE}
    fit(photos, "out", **options)
    assert fit(photos, "out", **options).computed == 0
    assert "nothing has changed" in capsys.readouterr().err
    mark = Path("out/SqueezeNet1_1/fit.json")
    run, key = RunFolder(mark.parent), json.loads(mark.read_text())["key"]
    assert unchanged(run, key) is not None
    mark.write_text(mark.read_text().replace('"accuracy": 1.0', '"accuracy": 0.5'))
    assert unchanged(run, key) is None
    picture(photos / "red" / "new.png", 7, (0, 0, 220))
    # A file under another name has the same content.
    next((photos / "green").iterdir()).rename(photos / "green" / "renamed.png")
    grown = fit(photos, "out", **options)
    assert (grown.computed, grown.train + grown.val) == (1, 37)

    shards = sorted(home.glob("features/*/*.npz"), key=lambda path: path.stat().st_size)
    cut, edited = shards[-1], shards[0]
    cut.write_bytes(cut.read_bytes()[:-100])
    data = bytearray(edited.read_bytes())
    data[len(data) // 2] ^= 1
    edited.write_bytes(data)
    mended = fit(photos, "out", **options, overwrite=True)
    assert mended.computed > 0
    assert mended.accuracy == grown.accuracy
    said = capsys.readouterr().err
    assert said.count("damaged or changed; its features are computed again") == 2
    assert fit(photos, "out", **options).computed == 0


@pytest.mark.slow
@pytest.mark.process
def test_a_stopped_fit_keeps_the_features_and_goes_on(weights: Path, home: Path) -> None:
    paths = [str(picture(Path(f"{i:03}.png"), i)) for i in range(120)]
    config = load_config("SqueezeNet1_1", ["Arch.head=linear", "Global.image_size=96"])
    extractor = Extractor(config, weights)
    bundle = extractor.folder / "bundle" / "inference.yml"

    def interrupt() -> None:
        while not bundle.is_file():
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    views = [[WHOLE]] * len(paths)
    with pytest.raises(Stopped, match="are kept; the same command continues there") as stopped:
        extractor.read(paths, views, skip_broken=False)
    assert stopped.value.exit_status == 130
    kept = re.search(r"features of (\d+) of 120", str(stopped.value))
    assert kept
    assert 0 < int(kept[1]) < 120
    found = Extractor(config, weights).read(paths, views, skip_broken=False)
    assert found.computed == 120 - int(kept[1])
    assert np.isfinite(found.values[WHOLE]).all()


@pytest.mark.process
def test_features_are_those_of_the_network(weights: Path) -> None:
    import paddle
    import paddle.nn.functional as F

    path = str(picture(Path("photo.png"), 0))
    config = load_config("SqueezeNet1_1", ["Arch.head=linear", f"Global.image_size={SIZE}"])
    views = [WHOLE, FLIPPED, *CROPS]
    found = Extractor(config, weights).read([path], [views], skip_broken=False)
    model = ppcls.create_model("SqueezeNet1_1", pretrained=weights)
    model.eval()
    pipeline = config.pipeline("Eval")
    whole = pipeline(path, np.random.default_rng(0))
    with paddle.no_grad():
        for view, image in ((WHOLE, whole), (FLIPPED, whole[:, ::-1])):
            images = paddle.to_tensor(pipeline.normalize(image[None]))
            pooled = F.adaptive_avg_pool2d(model.forward_features(images)[-1], 1).flatten(1)
            np.testing.assert_allclose(found.values[view], pooled.numpy(), rtol=1e-3, atol=1e-4)
    crops = [found.values[view] for view in CROPS]
    assert all(np.abs(crop - found.values[WHOLE]).max() > 1e-3 for crop in crops)


@pytest.mark.process
@pytest.mark.training
def test_fine_tuning_keeps_the_better_model(photos: Path, weights: Path, capsys) -> None:
    options = {"weights": weights, "size": SIZE, "finetune": True}
    short = fit(photos, "out", **options, minutes=1e-6)
    assert short.fine_tuned is None
    assert any("the linear classifier is kept" in note for note in short.notes)
    tuned = fit(photos, "out", **options)
    assert tuned.fine_tuned is not None
    assert tuned.accuracy == max(tuned.linear, tuned.fine_tuned)
    assert "model is kept" in tuned.summary()
    best = f"Global.pretrained_model={tuned.best}"
    assert evaluate(load_config(tuned.config, [best])).means["top1"] == tuned.accuracy
    bundle = ["eval", "--bundle", str(tuned.bundle), "-c", str(tuned.config), "--json"]
    capsys.readouterr()
    assert main(bundle) == 0
    assert json.loads(capsys.readouterr().out)["top1"] == tuned.accuracy


# Splits and copies --------------------------------------------------------------------------------


@pytest.mark.process
def test_copies_of_a_picture_stay_on_one_side_and_are_named_across_a_given_split(
    weights: Path, capsys: pytest.CaptureFixture
) -> None:
    for label, colour in enumerate([(200, 60, 60), (60, 60, 200)]):
        for i in range(10):
            picture(Path(f"all/{label}/{i}.png"), 100 * label + i, colour)
        # The same picture smaller and at a lower quality, and the same file.
        first = cv2.imread(f"all/{label}/0.png")
        cv2.imwrite(f"all/{label}/small.jpg", cv2.resize(first, (80, 80)), [1, 70])
        shutil.copy(f"all/{label}/1.png", f"all/{label}/same.png")
    options = {"weights": weights, "size": SIZE}
    found = fit("all", "out", **options, val=0.25)
    assert found.copies == []
    lists = [
        {line.rpartition(" ")[0] for line in (found.folder / name).read_text().splitlines()}
        for name in ("train_list.txt", "val_list.txt")
    ]
    assert lists[0].isdisjoint(lists[1])
    for label in "01":
        for pair in ({"0.png", "small.jpg"}, {"1.png", "same.png"}):
            sides = [{f"{label}/{name}" for name in pair} & part for part in lists]
            assert sorted(map(len, sides)) == [0, 2]
    for part, names in (("train", ["0", "1", "2", "3"]), ("val", ["4", "5", "small", "same"])):
        for label in "01":
            Path(f"given/{part}/{label}").mkdir(parents=True)
            for path in Path(f"all/{label}").iterdir():
                if path.stem in names:
                    shutil.copy(path, f"given/{part}/{label}")
    shutil.copy("given/train/0/2.png", "given/train/1/odd.png")
    given = fit("given", "out", **options)
    assert {(Path(a).name, Path(b).name) for a, b in given.copies} == {
        ("0.png", "small.jpg"),
        ("1.png", "same.png"),
    }
    assert given.without_copies is not None
    said = capsys.readouterr().err
    assert "copies of training images, which flatters the accuracy (4)" in said
    assert "copies of one picture in different classes (1)" in said


@pytest.mark.process
def test_lists_are_used_and_images_in_no_list_reported(
    colours: Path, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    photos = shutil.copytree(colours, tmp_path / "listed")
    picture(photos / "red" / "new.png", 3)
    found = fit(photos, "out", weights=weights, size=SIZE)
    assert (found.train, found.val) == (27, 9)
    assert "images in no list (1), such as" in capsys.readouterr().err
    assert (found.folder / "val_list.txt").read_text() == (photos / "val_list.txt").read_text()


# Bad input ----------------------------------------------------------------------------------------


def test_folders_that_cannot_be_fitted(photos: Path, weights: Path) -> None:
    def refused(kind: type[Exception], text: str, *arguments, **options) -> None:
        with pytest.raises(kind, match=text):
            fit(*arguments, **{"weights": weights, "size": SIZE} | options)

    refused(DataError, "no such folder", "nowhere")
    refused(ConfigError, "share above 0 and below 1", photos, val=1.0)
    refused(ConfigError, "is the folder of the training images", photos, val=photos)
    refused(ConfigError, "inside the folder of the images", photos, photos / "out")
    refused(ConfigError, "time for finetune", photos, minutes=3)
    refused(ConfigError, "minutes must be above 0", photos, minutes=float("nan"), finetune=True)
    refused(ConfigError, "at least 32 pixels, not 8", photos, size=8)
    refused(ConfigError, "seed is a whole number", photos, seed=-1)
    refused(ConfigError, "no architecture is called", photos, model="SqueezNet")
    refused(ConfigError, "for one architecture", photos, model=["AlexNet", "DPN68"])
    refused(WeightsError, "no such weights", photos, weights="nothing.npz")
    refused(WeightsError, "made for another model than HarDNet39_ds", photos, model="HarDNet39_ds")
    for name in ("green", "red"):
        shutil.rmtree(photos / name)
    refused(DataError, "expected a folder of images for each class", photos)
    (photos / "empty").mkdir()
    refused(DataError, "no images in this class folder", photos)
    picture(photos / "empty" / "one.png", 0)
    refused(DataError, "one image of the class empty is too few", photos)


@pytest.mark.process
def test_unreadable_images_are_named_or_left_out(
    photos: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    whole = next((photos / "green").iterdir()).read_bytes()
    (photos / "green" / "text.jpg").write_text("hello")
    (photos / "red" / "cut.png").write_bytes(whole[: len(whole) // 2])
    arguments = ["fit", str(photos), "--weights", str(weights), "--size", str(SIZE)]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "text.jpg: not an image" in said
    assert "leave them out with --skip-broken" in said
    assert "\\n" not in said  # a line for each image
    (photos / "green" / "text.jpg").unlink()
    # Its header is right, so only decoding finds it.
    assert main(arguments) == 1
    assert "cut.png: the image is truncated" in capsys.readouterr().err
    assert main([*arguments, "--skip-broken", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["train"] + found["val"] == 36
    assert len(found["unreadable"]) == 1
    assert Path("output/photos/SqueezeNet1_1/config.yaml").is_file()


@pytest.mark.process
def test_one_picture_and_one_picture_a_class(weights: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        picture(Path("same") / name, 0)
    with pytest.raises(DataError, match="all 4 images are the same picture"):
        fit("same", weights=weights, size=SIZE)
    for label, colour in (("a", (200, 60, 60)), ("b", (60, 60, 200))):
        picture(Path(f"few/{label}/1.png"), ord(label), colour)
        for i in range(3):
            picture(Path(f"held/{label}/{i}.png"), i + ord(label) * 10, colour)
    found = fit("few", "out", weights=weights, size=SIZE, val="held")
    assert (found.train, found.val, found.cross_validated, found.twice) == (2, 6, None, None)
    assert any("no cross-validation" in note for note in found.notes)
    assert not (found.report / "learning_curve.png").exists()


@pytest.mark.process
def test_labels_that_mean_nothing_are_reported(weights: Path) -> None:
    for i in range(40):
        picture(Path(f"noise/{i % 2}/{i}.png"), i)
    found = fit("noise", "out", weights=weights, size=SIZE)
    assert "the classes cannot be told apart by these features" in found.summary()


def test_without_network_and_weights_the_cache_is_listed(
    photos: Path, weights: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ppcls.models import download

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(download.fetch, "__defaults__", (download.Limits(pauses=()),))
    with pytest.raises(WeightsError, match=r"put the file at .*weights in the cache: none"):
        fit(photos, size=SIZE)
    other = download.cache_path(ppcls.model_card("HarDNet68").checkpoint("").url)
    other.parent.mkdir(exist_ok=True)
    other.write_bytes(b"")
    with pytest.raises(WeightsError, match=r"those of HarDNet68 \(--model\)"):
        fit(photos, size=SIZE)
    other.unlink()


@pytest.mark.process
@pytest.mark.slow
def test_of_several_architectures_the_better_one_is_kept(
    photos: Path, weights: Path, home: Path
) -> None:
    from ppcls.models.download import cache_path

    names = ["SqueezeNet1_0", "SqueezeNet1_1"]
    cached = [cache_path(ppcls.model_card(name).checkpoint("").url) for name in names]
    cached[0].parent.mkdir(exist_ok=True)
    ppcls.save_weights(ppcls.create_model(names[0]), cached[0])
    shutil.copy(weights, cached[1])
    found = fit(photos, "out", model=names, size=SIZE)
    assert list(found.tried) == names
    assert found.model in names
    assert found.folder == Path("out") / found.model
    for path in cached:
        path.unlink()
