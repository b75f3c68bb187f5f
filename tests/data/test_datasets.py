"""Data sets: their kinds, what cannot be read, and what a run is told before it begins."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from ppcls.config.data import DataLoaders
from ppcls.data.datasets import (
    ImageDataset,
    ImageFolder,
    ImageNetDataset,
    MultiLabelDataset,
)
from ppcls.data.lists import Sample
from ppcls.data.loader import Loader
from ppcls.data.samplers import DistributedBatchSampler
from ppcls.data.tools.check import quick_check
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.data.transforms.resize_crop import DecodeImage, RandCropImage
from ppcls.errors import DataError, ImageError

OPS = [{"DecodeImage": {}}, {"ResizeImage": {"size": 8}}]


@pytest.fixture
def photos(colours: Path, tmp_path: Path) -> Path:
    """A copy of the data set of three classes, to break."""
    return Path(shutil.copytree(colours, tmp_path / "photos"))


def listed(photos: Path, name: str, text: str, **options) -> ImageNetDataset:
    (photos / name).write_text(text, encoding="utf-8")
    return ImageNetDataset(
        image_root=str(photos), cls_label_path=str(photos / name), transform_ops=OPS, **options
    )


def test_lists_of_all_formats_say_the_same(photos: Path) -> None:
    names = ["bleu pâle/image 00.PNG", "red/image 03.PNG"]
    rows = [f'"{name}",x,{label}\n' for label, name in enumerate(names)]
    objects = [json.dumps({"label": i, "path": name}) + "\n" for i, name in enumerate(names)]
    expected = [Sample(str(photos / name), label) for label, name in enumerate(names)]
    for dataset in (
        listed(photos, "a.txt", f"{names[0]} 0\n{names[1]} 1\n"),
        listed(photos, "tab.txt", f"{names[0]}\t0\n\n{names[1]}\t1\n", delimiter="\t"),
        listed(photos, "a.csv", "path,size,label\n" + "".join(rows)),
        listed(photos, "a.jsonl", "\ufeff" + "".join(objects)),
    ):
        assert dataset.read(3) == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.csv",
            "red/image 00.PNG,1\n",
            "a.csv:1: expected a header with the columns path, label",
        ),
        ("a.csv", "path,label\n\nred/image 00.PNG\n", "a.csv:3: expected an integer label"),
        ("a.jsonl", '{"path": "x"}\n', r"""a.jsonl:1: expected {"path": "…", "label": …}, found"""),
        ("a.jsonl", '{"path": "x", "label": 1.0}', "a.jsonl:1: expected an integer label"),
        ("a.txt", "red/image 00.PNG x", "a.txt:1: expected an integer label, found 'x'"),
    ],
)
def test_lists_of_all_formats_name_their_mistakes(
    photos: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        listed(photos, name, text).read(3)


def test_multi_label_lists_give_float_labels(photos: Path) -> None:
    text = "red/image 00.PNG\t0,1,1\nred/image 01.PNG\t1,0,0\n"
    options = {"name": "MultiLabelDataset", "image_root": str(photos), "transform_ops": OPS}
    (photos / "multi.txt").write_text(text)
    dataset = MultiLabelDataset(cls_label_path=str(photos / "multi.txt"), **options)
    samples = dataset.read(3)
    assert [s.label for s in samples] == [(0, 1, 1), (1, 0, 0)]
    with Loader(
        dataset.images(samples, Pipeline(dataset.transform_ops), 0),
        DistributedBatchSampler(batch_size=2),
    ) as loader:
        (batch,) = loader.epoch()
    assert batch.labels.dtype == np.float32
    assert batch.labels.tolist() == [[0, 1, 1], [1, 0, 0]]
    (photos / "multi.jsonl").write_text('{"path": "red/image 00.PNG", "label": [0, 1, 2]}')
    with pytest.raises(DataError, match=r"expected 0 or 1 for each class, found \[0, 1, 2\]"):
        MultiLabelDataset(cls_label_path=str(photos / "multi.jsonl"), **options).read(3)
    with pytest.raises(DataError, match=r"3 labels for 4 classes; set Arch\.class_num"):
        dataset.read(4)


def test_image_folders_number_their_classes_by_name(photos: Path) -> None:
    options = {"name": "ImageFolder", "image_root": str(photos), "transform_ops": OPS}
    samples = ImageFolder(**options).read(3)
    assert [Path(s.path).parent.name for s in samples[::12]] == ["bleu pâle", "green", "red"]
    assert [s.label for s in samples[::12]] == [0, 1, 2]
    order = ImageFolder(**options, classes=["red", "violet", "green", "bleu pâle"])
    assert {Path(s.path).parent.name: s.label for s in order.read(4)} == {
        "red": 0,
        "green": 2,
        "bleu pâle": 3,
    }
    with pytest.raises(DataError, match=r"3 class folders for Arch\.class_num 4"):
        ImageFolder(**options).read(4)
    with pytest.raises(DataError, match=r"green: not one of the 3 classes; did you mean 'greeen'"):
        ImageFolder(**options, classes=["red", "greeen", "bleu pâle"]).read(3)


def test_what_is_left_out_makes_its_batch_smaller_and_changes_no_other(photos: Path) -> None:
    dataset = ImageNetDataset(
        image_root=str(photos), cls_label_path=str(photos / "train_list.txt"), transform_ops=OPS
    )
    samples = dataset.read(3)
    Path(samples[5].path).write_bytes(b"damaged")
    Path(samples[20].path).write_bytes(b"")
    pipeline = Pipeline([DecodeImage(), RandCropImage(size=8)])

    def epoch(workers: int, **options) -> list:
        sampler = DistributedBatchSampler(batch_size=4, shuffle=True)
        with Loader(ImageDataset(samples, pipeline, **options), sampler, workers) as loader:
            batches = list(loader.epoch(1))
            assert sorted(each.number for each in loader.unreadable) == [5, 20]
            text = loader.skipped()
            assert "skipped 2 of 27 images" in text
            assert "image" in text
            return batches

    reference = epoch(0, on_error="skip", max_skipped=0.1)
    assert sorted(i for b in reference for i in b.indices) == sorted({*range(27)} - {5, 20})
    assert [len(b.indices) + len(b.unreadable) for b in reference] == [4] * 6 + [3]
    for workers in (1, 3):
        for ours, theirs in zip(epoch(workers, on_error="wrong"), reference, strict=True):
            np.testing.assert_array_equal(ours.images, theirs.images)
            np.testing.assert_array_equal(ours.labels, theirs.labels)
            np.testing.assert_array_equal(ours.indices, theirs.indices)
    for workers in (0, 2):
        with pytest.raises(ImageError, match=r"image \d\d\.PNG: "):
            epoch(workers)
        with pytest.raises(DataError, match=r"1 of 27 images cannot be .* share of 0\.01"):
            epoch(workers, on_error="skip")


def test_an_epoch_can_begin_at_any_batch(colours: Path) -> None:
    dataset = ImageFolder(name="ImageFolder", image_root=str(colours), transform_ops=OPS)
    whole = ImageDataset(dataset.read(3), Pipeline(dataset.transform_ops))
    with Loader(whole, DistributedBatchSampler(batch_size=8, shuffle=True), 2) as loader:
        late, all_of_it = list(loader.epoch(3, skip=3)), list(loader.epoch(3))
    assert [b.indices.tolist() for b in late] == [b.indices.tolist() for b in all_of_it[3:]]


def test_files_kept_in_memory_are_read_once(photos: Path) -> None:
    samples = [Sample(str(photos / "red/image 00.PNG"), 0), Sample(str(photos / "gone"), 0)]
    dataset = ImageDataset(samples, Pipeline([DecodeImage()]), in_memory=True)
    first = dataset.load(0, 0)
    Path(samples[0].path).unlink()
    np.testing.assert_array_equal(dataset.load(0, 1), first)
    with pytest.raises(ImageError, match=r"gone: cannot read the image"):
        dataset.load(1, 0)
    (photos / "gone").write_bytes(b"text")
    with pytest.raises(ImageError, match=r"gone: not an image"):
        dataset.load(1, 0)


def test_the_quick_check_names_the_first_ten_problems_of_all_parts(photos: Path) -> None:
    train = listed(photos, "a.txt", "gone.png 0\nred/image 00.PNG 7\nred/image 01.PNG 1\n")
    broken = [f"red/image {i:02d}.PNG" for i in range(2, 12)]
    for name in broken:
        (photos / name).write_bytes(b"<html>")
    val = listed(photos, "b.txt", "".join(f"{name} 1\n" for name in broken))
    with pytest.raises(DataError) as raised:
        quick_check({"Train": train, "Eval": val}, 3)
    lines = str(raised.value).split("\n")
    assert "a.txt:1: no such image: " in lines[0]
    assert "a.txt:2: label 7 is not in 0..2; set Arch.class_num (now 3)" in lines[1]
    assert lines[2].endswith("image 02.PNG: not an image that can be decoded (recognised as HTML)")
    assert lines[10:] == ["and 2 more problems"]
    quick_check({"Eval": val.model_copy(update={"on_error": "wrong"})}, 3)


@pytest.mark.parametrize(
    ("part", "options", "message"),
    [
        ("Train", {"on_error": "wrong"}, "Train.dataset.on_error must be error or skip, not wrong"),
        ("Eval", {"on_error": "skip"}, "Eval.dataset.on_error must be error or wrong, not skip"),
        ("Train", {"max_skipped": 0.1}, "max_skipped has no effect"),
        ("Train", {"cls_label_path": "a.csv", "delimiter": ";"}, "delimiter is for .txt lists"),
        ("Train", {"name": "ImageFolder", "classes": ["a", "a"]}, "duplicate class 'a'"),
        ("Train", {"name": "ImageNetDatset"}, "Input tag 'ImageNetDatset'"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(
    part: str, options: dict, message: str
) -> None:
    dataset = {"image_root": ".", "transform_ops": OPS} | options
    if "name" not in options:
        dataset.setdefault("cls_label_path", "a.txt")
    with pytest.raises(ValueError, match=message):
        DataLoaders.model_validate({part: {"dataset": dataset, "sampler": {"batch_size": 1}}})


@pytest.fixture
def folder_config(config_file: Path, colours: Path, tmp_path: Path):
    """Return a function that loads the tests' configuration with image folders for its lists."""
    from ppcls.config import load_config

    def load(train: Path, val: Path, **more: dict):
        text = config_file.read_text(encoding="utf-8")
        for part, folder in (("Train", train), ("Eval", val)):
            options = {"name": "ImageFolder", "image_root": str(folder), **more.get(part, {})}
            lines = "".join(f"      {key}: {json.dumps(v)}\n" for key, v in options.items())
            head = f"  {part}:\n    dataset:\n"
            text = text.replace(head, head + lines)
        path = tmp_path / "folders.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, [f"Global.output_dir={tmp_path}", "Arch.class_num=3"])

    return load


@pytest.mark.training
def test_a_run_keeps_the_classes_of_its_folder_and_says_what_it_skipped(
    folder_config, photos: Path, colours: Path
) -> None:
    pytest.importorskip("paddle")
    from ppcls.config import load_config
    from ppcls.config.class_names import label_names
    from ppcls.training.train import train

    broken = photos / "green/image 03.PNG"
    broken.write_bytes(broken.read_bytes()[:-20])
    skip = {"on_error": "skip", "max_skipped": 0.1}
    run = train(folder_config(photos, colours, Train=skip)).folder
    config = load_config(run / "config.yaml")
    assert label_names(config) == ["bleu pâle", "green", "red"]
    assert config.DataLoader.Eval.dataset.classes == ["bleu pâle", "green", "red"]
    lines = [x for x in (run / "train.log").read_text().splitlines() if "skipped" in x]
    assert len(lines) == 2
    assert "skipped 1 of 36 images: they cannot be read; the last: " in lines[0]
    assert "image 03.PNG: the image is truncated" in lines[0]


def test_different_classes_to_train_and_to_evaluate_on_are_refused(
    folder_config, photos: Path, colours: Path
) -> None:
    pytest.importorskip("paddle")
    from ppcls.training.train import train

    (photos / "red").rename(photos / "rouge")
    with pytest.raises(DataError, match="different classes, in only one of them: red, rouge"):
        train(folder_config(photos, colours))


def test_an_evaluation_fails_at_what_it_cannot_read_or_counts_it_as_wrong(
    folder_config, photos: Path, colours: Path
) -> None:
    pytest.importorskip("paddle")
    from ppcls.evaluation.evaluate import evaluate

    for name in ("green/image 03.PNG", "red/image 04.PNG"):
        (photos / name).write_bytes(b"")
    with pytest.raises(ImageError, match=r"image 03\.PNG: the image file is empty"):
        evaluate(folder_config(colours, photos), allow_random=True)
    whole = evaluate(folder_config(colours, colours), allow_random=True)
    found = evaluate(folder_config(colours, photos, Eval={"on_error": "wrong"}), allow_random=True)
    assert (found.count, found.unreadable) == (36, 2)
    assert "2 unreadable images are counted as wrong" in found.summary()
    lost = {3 + 12, 4 + 24}
    right = [i for i, r in zip(whole.answers.index, whole.answers.rank, strict=True) if r == 0]
    assert found.means["top1"] == pytest.approx(len(set(right) - lost) / 36)


class Fails(DecodeImage):
    """A transform with a fault that nobody foresaw."""

    def __call__(self, source, rng) -> np.ndarray:
        raise ZeroDivisionError("float division by zero")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_fault_in_a_worker_ends_the_epoch_and_names_the_image(
    colours: Path, workers: int
) -> None:
    samples = ImageFolder(name="ImageFolder", image_root=str(colours), transform_ops=OPS).read(3)
    dataset = ImageDataset(samples, Pipeline([Fails()]), on_error="skip")
    with (
        Loader(dataset, DistributedBatchSampler(batch_size=8), workers) as loader,
        pytest.raises(DataError, match=r"image 00\.PNG: a transform fails .*: ZeroDivis"),
    ):
        next(loader.epoch())


def test_memory_is_flat_over_twenty_epochs(colours: Path) -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("the memory in use is read from /proc")
    samples = ImageFolder(name="ImageFolder", image_root=str(colours), transform_ops=OPS).read(3)
    pipeline = Pipeline([DecodeImage(), RandCropImage(size=224)])
    sampler = DistributedBatchSampler(batch_size=6, shuffle=True)
    pages = []
    with Loader(ImageDataset(samples, pipeline), sampler, 2) as loader:
        for epoch in range(20):
            assert sum(len(batch.labels) for batch in loader.epoch(epoch)) == 36
            pages.append(int(statm.read_text().split()[1]))
    # An epoch is 5 MB: a leak of it would add 75 MB, and what malloc keeps for itself is less than
    # half of that.
    assert (pages[-1] - pages[4]) * resource.getpagesize() < 37e6


ENDLESS = """
import signal, sys
# Where the tests run in the background, children are born deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
from ppcls.data.datasets import ImageDataset
from ppcls.data.lists import Sample
from ppcls.data.loader import Loader
from ppcls.data.samplers import DistributedBatchSampler
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.data.transforms.resize_crop import DecodeImage, ResizeImage

samples = [Sample(sys.argv[1], 0)] * 64
pipeline = Pipeline([DecodeImage(), ResizeImage(size=512)])
with Loader(ImageDataset(samples, pipeline), DistributedBatchSampler(batch_size=8), 2) as loader:
    while True:
        for batch in loader.epoch():
            print(len(batch.labels), flush=True)
"""


@pytest.mark.process
def test_ctrl_c_ends_a_loader_at_once(colours: Path) -> None:
    command = [sys.executable, "-c", ENDLESS, str(colours / "red" / "image 00.PNG")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "8\n"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=600)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT
    assert err.count("Traceback") == 1
    assert err.endswith("KeyboardInterrupt\n")
