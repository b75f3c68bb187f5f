"""`ppcls data check`, `list` and `prepare`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from ppcls.cli import main
from ppcls.data import image
from ppcls.data.folders import list_folder
from ppcls.data.lists import read_image_list, read_label_names
from ppcls.data.tools.shrink import prepare
from ppcls.errors import DataError


@pytest.fixture
def photos(colours: Path, tmp_path: Path) -> Path:
    """A copy of the data set of three classes, to break."""
    return Path(shutil.copytree(colours, tmp_path / "photos"))


def check(target: Path, *options: str) -> tuple[int, dict]:
    file = target.with_name("check.json")
    status = main(["data", "check", str(target), "--json", str(file), *options])
    return status, json.loads(file.read_text(encoding="utf-8"))


def test_a_sound_set_is_described(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    status, found = check(photos, "--report", str(tmp_path / "report.png"))
    assert (status, found["errors"]) == (0, [])
    train = found["parts"]["Train"]
    assert (train["images"], train["class_counts"]) == (27, [9, 9, 9])
    assert train["widths"] == [30, 30, 30]
    assert train["formats"] == {"PNG": 27}
    assert train["modes"] == {"RGB": 27}
    assert found["parts"]["Eval"]["class_counts"] == [3, 3, 3]
    assert any("27 images below 32 pixels" in line for line in found["warnings"])
    assert image.read(tmp_path / "report.png").shape[1] == 1200
    out = capsys.readouterr().out
    assert "classes  3, of 9 images each\n  width    30\n  height   24 to 35, median" in out
    assert out.endswith("0 errors, 2 warnings\n")


def test_everything_wrong_is_found_and_fails(
    photos: Path, config_file: Path, overrides: list[str]
) -> None:
    train = (photos / "train_list.txt").read_text(encoding="utf-8").splitlines()
    val = (photos / "val_list.txt").read_text(encoding="utf-8").splitlines()
    broken = photos / train[0].rpartition(" ")[0]
    broken.write_bytes(broken.read_bytes()[:50])
    shutil.copy(photos / train[1].rpartition(" ")[0], photos / val[-1].rpartition(" ")[0])
    (photos / "train_list.txt").write_text("\n".join([*train, "gone.png 0", "x"]), "utf-8")
    status, found = check(photos)
    assert status == 1
    for line, message in zip(
        found["errors"],
        (
            "train_list.txt:28: no such image: ",
            "train_list.txt:29: expected 'path label', found 'x'",
            f"{broken.name}: the image is truncated",
        ),
        strict=True,
    ):
        assert message in line
    assert any("1 images are in both Train and Eval" in line for line in found["warnings"])
    assert any("1 images have several labels" in line for line in found["warnings"])
    # The same through a configuration.
    root = {"image_root": photos, "cls_label_path": photos / "train_list.txt"}
    train_only = [f"DataLoader.Train.dataset.{key}={value}" for key, value in root.items()]
    status, again = check(config_file, "-o", *overrides, *train_only, "DataLoader.Eval=null")
    assert status == 1
    assert again["errors"] == found["errors"]


def test_a_list_and_a_folder_can_be_checked_alone(photos: Path, capsys) -> None:
    status, found = check(photos / "train_list.txt", "--class-num", "4")
    assert (status, found["class_num"]) == (0, 4)
    assert "all: 1 classes without an image: 3" in found["warnings"]
    assert check(photos / "train_list.txt")[1]["class_num"] == 3
    (photos / "label_list.txt").unlink()
    status, found = check(photos)
    assert found["parts"]["all"]["class_counts"] == [12, 12, 12]
    assert main(["data", "check", str(photos), "--class-num", "5"]) == 2
    assert "3 classes, but --class-num is 5" in capsys.readouterr().err
    assert main(["data", "check", str(photos / "gone.txt")]) == 1


def test_a_check_replaces_nothing_that_it_reads(photos: Path, capsys) -> None:
    before = {path: path.read_bytes() for path in photos.rglob("*.*")}
    picture = next(path for path in before if path.suffix == ".PNG")
    for target, option, file in (
        (photos, "--json", photos / "train_list.txt"),
        (photos / "val_list.txt", "--json", photos / "val_list.txt"),
        (photos, "--report", picture),
    ):
        assert main(["data", "check", str(target), option, str(file)]) == 2
        assert f"{file}: is part of the checked data" in capsys.readouterr().err
    options = ["--data", str(photos), "--out", str(picture)]
    assert main(["data", "show", "quick_start/folder", *options]) == 2
    assert "is an image of the data set" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in photos.rglob("*.*")} == before


def test_options_of_a_check_fit_what_is_checked(photos: Path, capsys) -> None:
    for target, options, message in (
        (photos, ["-o", "a=1"], "-o is for a configuration, but "),
        (photos, ["--image-root", "x"], "--image-root is for a list, but "),
        (photos / "val_list.txt", ["--data", "x"], "--data is for a configuration, but "),
        ("HarDNet68", ["--class-num", "3"], "--class-num is for a folder or a list, but "),
    ):
        assert main(["data", "check", str(target), *options]) == 2
        err = capsys.readouterr().err
        assert f"ppcls: error: {message}" in err
        assert err.startswith("usage: ppcls data check ")
    assert main(["data", "check", str(photos / "train_list.txt"), "--class-num", "2"]) == 1
    out = capsys.readouterr().out
    assert "label 2 is not in 0..1; set --class-num (now 2) or correct the list" in out
    assert main(["data", "check", "quick_start/folder", "--data", str(photos)]) == 0


def test_lists_of_a_folder(photos: Path) -> None:
    (photos / "label_list.txt").unlink()
    expected = [(str(p), i // 12) for i, p in enumerate(sorted(photos.rglob("*.PNG")))]
    for name in ("a.txt", "a.csv", "a.jsonl"):
        listed = list_folder(photos, photos / name)
        assert (listed.images, listed.classes) == (36, 3)
        assert [tuple(s) for s in read_image_list(photos / name, photos, 3)] == expected
    assert read_label_names(photos / "label_list.txt") == ["bleu pâle", "green", "red"]
    (photos / "mine.txt").write_text("0 red\n1 green\n2 yellow\n3 bleu pâle\n", encoding="utf-8")
    list_folder(photos, photos / "b.txt", labels=photos / "mine.txt")
    assert [s.label for s in read_image_list(photos / "b.txt", photos, 4)][::12] == [3, 1, 0]
    with pytest.raises(DataError, match=r"a\.txt exists and differs"):
        list_folder(photos, photos / "a.txt", labels=photos / "mine.txt")
    with pytest.raises(DataError, match=r"a\.xls: expected a name that ends in \.txt"):
        list_folder(photos, photos / "a.xls")
    (photos / "mine.txt").write_text("0 red\n1 green\n2 bleu\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"bleu pâle: not in .*; did you mean 'bleu'"):
        list_folder(photos, photos / "c.txt", labels=photos / "mine.txt")


def test_prepared_sets_are_smaller_turned_and_complete(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    (source / "a b").mkdir(parents=True)
    smooth = cv2.resize(
        np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8), (600, 400), None, 0, 0, 2
    )
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(smooth).save(source / "a b/turned.jpg", exif=turned, quality=95)
    Image.fromarray(smooth).save(source / "a b/lossless.png")
    (source / "small.jpeg").write_bytes(simplejpeg.encode_jpeg(smooth[:90, :90].copy(), 90))
    Image.fromarray(smooth[:64, :64]).convert("L").save(source / "gray.bmp")
    lines = ["a b/turned.jpg 0", "a b/lossless.png\t1", "gray.bmp 1", "small.jpeg 0"]
    (source / "list.txt").write_text("\n".join(lines) + "\n")
    (source / "list.csv").write_text('path,label\n"a b/lossless.png",1\n')
    (source / "list.jsonl").write_text('{"path": "gray.bmp", "label": 1}\n')

    done = prepare(source, target, short_side=100)
    assert (done.rewritten, done.copied, done.kept) == (3, 1, 0)
    for name in ("list.txt", "list.csv", "list.jsonl"):
        assert (target / name).read_bytes() == (source / name).read_bytes()
    assert [s.label for s in read_image_list(target / "list.csv", target, 2)] == [1]
    assert [s.label for s in read_image_list(target / "list.jsonl", target, 2)] == [1]
    assert image.read(target / "a b/turned.jpg").shape == (150, 100, 3)
    pixels = image.read(target / "a b/lossless.png")
    expected = cv2.resize(smooth, (150, 100), interpolation=cv2.INTER_AREA)
    assert np.abs(pixels.astype(int) - expected).mean() < 3
    assert image.read_header(target / "gray.bmp")[:4] == ("JPEG", "L", 64, 64)
    assert (target / "small.jpeg").read_bytes() == (source / "small.jpeg").read_bytes()

    (target / "gray.bmp").unlink()
    assert prepare(source, target, short_side=100)[:3] == (1, 0, 3)
    with pytest.raises(DataError, match=r"made with .*100.*; name another folder"):
        prepare(source, target, short_side=120)
    with pytest.raises(DataError, match="holds other files"):
        prepare(source, Path(shutil.copytree(source, tmp_path / "other")))
    with pytest.raises(DataError, match="must be outside"):
        prepare(source, source / "out")
    with pytest.raises(DataError, match="not a folder with images"):
        prepare(tmp_path / "gone", tmp_path / "new")


def test_preparing_names_what_it_cannot_read_and_leaves_no_list(photos: Path) -> None:
    (photos / "red/image 00.PNG").write_bytes(b"")
    (photos / "red/image 01.PNG").write_bytes(b"text")
    target = photos.with_name("out")
    with pytest.raises(DataError) as raised:
        prepare(photos, target)
    assert [line.rpartition("/")[2] for line in str(raised.value).split("\n")] == [
        "image 00.PNG: the image file is empty",
        "image 01.PNG: not an image that can be decoded",
    ]
    assert len(list(target.rglob("*.PNG"))) == 34
    assert not list(target.rglob("*.txt"))
