"""Images, transforms, lists and batches."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ppcls.data import image
from ppcls.data.datasets import ImageDataset
from ppcls.data.folders import split_folder
from ppcls.data.lists import (
    Sample,
    class_names,
    read_image_list,
    read_label_names,
)
from ppcls.data.loader import Loader
from ppcls.data.samplers import DistributedBatchSampler
from ppcls.data.tools.digits import write_digits
from ppcls.data.transforms.normalize import NormalizeImage, ToCHWImage
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.data.transforms.resize_crop import (
    CropImage,
    DecodeImage,
    RandCropImage,
    RandFlipImage,
    ResizeImage,
)
from ppcls.errors import ConfigError, DataError, ImageError


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def noise(height: int = 40, width: int = 60) -> np.ndarray:
    return rng().integers(0, 256, (height, width, 3), np.uint8)


def write_png(path: Path, pixels: np.ndarray) -> Path:
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path


def test_read_gives_rgb_from_paths_bytes_and_arrays(tmp_path: Path) -> None:
    pixels = noise()
    path = write_png(tmp_path / "é t.png", pixels[..., ::-1])
    for source in (path, str(path), path.read_bytes(), pixels):
        np.testing.assert_array_equal(image.read(source), pixels)
    gray = write_png(tmp_path / "gray.png", pixels[..., 0])
    np.testing.assert_array_equal(image.read(gray), np.repeat(pixels[..., :1], 3, axis=2))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the image file is empty"), (b"text", "not an image that can be decoded")],
)
def test_unreadable_images_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=rf"bad\.jpg: {message}"):
        image.read(tmp_path / "bad.jpg")
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot read the image: No such file"):
        image.read(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="must be uint8"):
        image.read(np.zeros((3, 3), np.float32))


def test_resize_and_crop() -> None:
    pixels = noise(40, 60)
    assert ResizeImage(resize_short=20)(pixels, rng()).shape == (20, 30, 3)
    assert ResizeImage(size=[50, 10])(pixels, rng()).shape == (10, 50, 3)
    np.testing.assert_array_equal(CropImage(size=20)(pixels, rng()), pixels[10:30, 20:40])
    padded = CropImage(size=[64, 20])(pixels, rng())
    assert padded.shape == (20, 64, 3)
    np.testing.assert_array_equal(padded[:, 2:62], pixels[10:30])
    assert not padded[:, :2].any()


def test_random_crops_stay_inside_and_cover_the_stated_area() -> None:
    # A picture whose pixels say where they are: a crop's size can be read off its corners.
    where = np.zeros((80, 120, 3), np.uint8)
    where[..., 0] = np.arange(80)[:, None]
    where[..., 1] = np.arange(120)
    crop = RandCropImage(size=16, scale=[0.25, 0.5], interpolation="nearest")
    generator = rng()
    areas = []
    for _ in range(200):
        out = crop(where, generator)
        assert out.shape == (16, 16, 3)
        (top, left), (bottom, right) = out[0, 0, :2].tolist(), out[-1, -1, :2].tolist()
        areas.append((bottom - top) * (right - left) * (16 / 15) ** 2 / (80 * 120))
    assert 0.2 < min(areas) < 0.3
    assert 0.4 < max(areas) < 0.6


def test_flips_half_of_the_images() -> None:
    pixels, generator = noise(), rng()
    flipped = [not np.array_equal(RandFlipImage()(pixels, generator), pixels) for _ in range(200)]
    assert 70 < sum(flipped) < 130


def test_normalisation_is_that_of_the_published_order_of_operations() -> None:
    op = NormalizeImage(scale="1.0/255.0")
    pipeline = Pipeline([DecodeImage(), op, ToCHWImage()])
    pixels = noise()
    published = (pixels.astype("float32") * np.float32(1 / 255) - np.float32(op.mean)) / np.float32(
        op.std
    )
    out = pipeline.normalize(pipeline(pixels, rng())[None])
    assert out.dtype == np.float32
    # Pixels differ by 0.01 and more; rounding, fused or not, by less than 1e-6.
    np.testing.assert_allclose(out[0], published.transpose(2, 0, 1), rtol=0, atol=1e-5)


def test_training_and_prediction_normalise_alike() -> None:
    paddle = pytest.importorskip("paddle")
    from ppcls.models.normalize import Normalize

    pipeline = Pipeline([DecodeImage(), NormalizeImage()])
    batch = np.stack([noise(), noise()])
    on_device = Normalize(pipeline.affine)(paddle.to_tensor(batch)).numpy()
    np.testing.assert_allclose(on_device, pipeline.normalize(batch), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "ops",
    [
        [],
        [ResizeImage(size=3)],
        [DecodeImage(), NormalizeImage(), ResizeImage(size=3)],
        [DecodeImage(), ToCHWImage(), ResizeImage(size=3)],
        [DecodeImage(), NormalizeImage(), NormalizeImage()],
    ],
)
def test_impossible_transform_lists(ops: list) -> None:
    with pytest.raises(ConfigError, match="transform_ops"):
        Pipeline(ops)


def test_split_is_stratified_and_the_same_each_time(colours: Path) -> None:
    names = read_label_names(colours / "label_list.txt")
    assert names == ["bleu pâle", "green", "red"]
    train = read_image_list(colours / "train_list.txt", colours, 3)
    held_out = read_image_list(colours / "val_list.txt", colours, 3)
    assert [sum(s.label == c for s in held_out) for c in range(3)] == [3, 3, 3]
    assert len(train) == 27
    assert not {s.path for s in train} & {s.path for s in held_out}
    assert all(names[s.label] == Path(s.path).parent.name for s in train + held_out)
    before = (colours / "val_list.txt").read_bytes()
    split_folder(colours, val=0.25)
    assert (colours / "val_list.txt").read_bytes() == before


def test_split_does_not_write_over_other_lists(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(4):
            write_png(tmp_path / name / f"{i}.png", noise())
    (tmp_path / "val_list.txt").write_text("mine\n")
    with pytest.raises(DataError, match=r"val_list\.txt exists and differs; add --overwrite"):
        split_folder(tmp_path)
    assert (tmp_path / "val_list.txt").read_text() == "mine\n"
    assert not (tmp_path / "train_list.txt").exists()
    split_folder(tmp_path, overwrite=True)
    assert len((tmp_path / "val_list.txt").read_text().splitlines()) == 2


def test_split_takes_train_and_val_folders_as_they_are(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("val", 2)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                write_png(tmp_path / part / name / f"{i}.png", noise())
    (tmp_path / "train/cat/notes.md").write_text("x")
    (tmp_path / "test").mkdir()
    assert split_folder(tmp_path) == (6, 4, 2, {".md": 1, "the folder test": 1})
    with pytest.raises(DataError, match="already split into train/ and val/"):
        split_folder(tmp_path, val=0.5)
    assert (tmp_path / "val_list.txt").read_text().splitlines()[-1] == "val/dog/1.png 1"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "found no folder"),
        (lambda root: (root / "a").mkdir(), "found only a"),
        (lambda root: [(root / n).mkdir() for n in "ab"], "a: no images in this class folder"),
        (
            lambda root: [(root / n).mkdir() for n in ("a", "Training")],
            "Training: expected a class",
        ),
    ],
)
def test_folders_without_images_are_named(tmp_path: Path, make, message: str) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        split_folder(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        split_folder(tmp_path / "gone")
    assert not list(tmp_path.glob("*.txt"))


def test_lists_name_their_first_problem_with_its_line(tmp_path: Path) -> None:
    for name in ("a b.png", "c.png"):
        write_png(tmp_path / name, noise())
    path = tmp_path / "list.txt"

    def read(text: str) -> list[Sample]:
        path.write_text(text, encoding="utf-8")
        return read_image_list(path, tmp_path, class_num=3)

    assert [(Path(s.path).name, s.label) for s in read("\ufeffa b.png 2\n\nc.png 0\n")] == [
        ("a b.png", 2),
        ("c.png", 0),
    ]
    for text, message in (
        ("c.png 0\nc.png\n", "list.txt:2: expected 'path label', found 'c.png'"),
        ("c.png 3\nc.png -1", "list.txt:1: label 3 is not in 0..2; correct the list"),
        ("c.png 0\nd.png 0\ne.png 1\n", "list.txt:2: no such image: "),
        ("c.png 0\nd.png 0\ne.png 1\n", "list.txt:3: no such image: "),
        ("\n", "the image list is empty"),
    ):
        with pytest.raises(DataError) as raised:
            read(text)
        assert message in str(raised.value)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="is not UTF-8"):
        read_image_list(path, tmp_path, 3)
    with pytest.raises(DataError, match=r"no such image list: .*gone\.txt$"):
        read_image_list(tmp_path / "gone.txt", tmp_path, 3)


def test_label_lists(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("1 tench, Tinca tinca\n0 goldfish\n", encoding="utf-8")
    assert read_label_names(path) == ["goldfish", "tench, Tinca tinca"]
    assert class_names(None, 3) == ["0", "1", "2"]
    with pytest.raises(DataError, match="2 class names for a model with 3 classes"):
        class_names(path, 3)
    for text, message in (
        ("0 a\n0 b\n", "labels.txt:2: duplicate label 0"),
        ("0 a\n2 b\n", "label 1 is missing"),
        ("cat\n", "labels.txt:1: expected 'label name', found 'cat'"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_label_names(path)


def test_digits_are_the_real_ones_and_writing_twice_changes_nothing(tmp_path: Path) -> None:
    counts = write_digits(tmp_path)
    assert counts == (1438, 359, 10, {})
    files = {p: p.stat().st_size for p in tmp_path.rglob("*.*")}
    assert write_digits(tmp_path) == counts
    assert {p: p.stat().st_size for p in tmp_path.rglob("*.*")} == files
    one = image.read(tmp_path / "0" / "0000.png")
    assert one.shape == (8, 8, 3)
    assert one[0].tolist() == [[v] * 3 for v in (0, 0, 80, 207, 143, 16, 0, 0)]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_the_same_with_any_number_of_workers(colours: Path, workers: int) -> None:
    samples = read_image_list(colours / "train_list.txt", colours, 3)
    ops = [DecodeImage(), RandCropImage(size=8), RandFlipImage()]

    def epoch(workers: int, number: int) -> list:
        sampler = DistributedBatchSampler(batch_size=4, shuffle=True)
        with Loader(ImageDataset(samples, Pipeline(ops), seed=5), sampler, workers) as loader:
            assert len(loader) == 7
            return list(loader.epoch(number))

    batches, reference = epoch(workers, 1), epoch(0, 1)
    assert sorted(i for b in batches for i in b.indices) == list(range(27))
    for ours, theirs in zip(batches, reference, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    assert batches[-1].images.shape == (3, 8, 8, 3)
    assert [samples[i].label for i in batches[0].indices] == batches[0].labels.tolist()
    other = epoch(workers, 2)
    assert any((a.indices != b.indices).any() for a, b in zip(batches[:-1], other, strict=False))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_goes_wrong_in_a_worker_reaches_the_user(colours: Path, workers: int) -> None:
    samples = read_image_list(colours / "train_list.txt", colours, 3)
    sampler = DistributedBatchSampler(batch_size=27)
    with (
        Loader(ImageDataset(samples, Pipeline([DecodeImage()])), sampler, workers) as loader,
        pytest.raises(DataError, match=r"its size after the transforms is 30x\d\d, while"),
    ):
        list(loader.epoch())
