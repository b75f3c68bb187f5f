"""Folders: links, the files of operating systems, and classes that a folder lacks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ppcls.cli import main
from ppcls.config.class_names import resolve_classes
from ppcls.data.folders import find_images, folder_classes, read_image_folder, split_folder, walk
from ppcls.data.tools.shrink import prepare
from ppcls.errors import DataError
from ppcls.inference.inputs import find_inputs


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes, with what operating systems, file servers and editors leave."""
    root = tmp_path / "photos"
    for name in ("cat", "dog"):
        fill(root / name, "1.jpg", "2.jpg", "._1.jpg", ".DS_Store", "Thumbs.db", "@eaDir/1.jpg")
        fill(root / name, ".git/3.jpg")
    fill(root, "__MACOSX/cat/._1.jpg", "$RECYCLE.BIN/x.jpg", "lost+found/y.jpg", "._cat.jpg")
    fill(root, ".ipynb_checkpoints/z.jpg", "System Volume Information/a.jpg", "desktop.ini")
    return root


def test_files_of_operating_systems_are_neither_classes_nor_images(photos: Path) -> None:
    images = [photos / c / f"{i}.jpg" for c in ("cat", "dog") for i in (1, 2)]
    assert find_images(photos) == images
    assert [i.path for i in find_inputs([photos])] == images
    assert folder_classes(photos) == ["cat", "dog"]
    assert [s.path for s in read_image_folder(photos, 2)] == list(map(str, images))
    assert split_folder(photos) == (2, 2, 2, {})


def test_every_command_follows_links(photos: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    fill(more, "7.jpg", "deep/8.jpg")
    (photos / "cat/linked").symlink_to(more)
    (photos / "emu").symlink_to(more)
    (photos / "dog/9.jpg").symlink_to(more / "7.jpg")
    assert folder_classes(photos) == ["cat", "dog", "emu"]
    assert [s.label for s in read_image_folder(photos, 3)] == [0] * 4 + [1] * 3 + [2] * 2
    # A prediction reads each folder once, under the first of its names.
    names = [p.relative_to(photos).as_posix() for p in find_images(photos)]
    assert names == [
        *("cat/1.jpg", "cat/2.jpg", "cat/linked/7.jpg", "cat/linked/deep/8.jpg"),
        *("dog/1.jpg", "dog/2.jpg", "dog/9.jpg"),
    ]
    link = tmp_path / "link"
    link.symlink_to(photos)
    assert len(find_images(link)) == 7
    with pytest.raises(DataError, match="not an image") as raised:
        prepare(link, tmp_path / "prepared")
    assert "linked/deep/8.jpg" in str(raised.value)


def test_a_link_to_a_folder_that_holds_it_is_refused(photos: Path) -> None:
    (photos / "cat/all").symlink_to("..")
    for read in (split_folder, folder_images := find_images, lambda p: read_image_folder(p, 2)):
        with pytest.raises(DataError, match=r"cat/all: a link to .*photos, which holds it"):
            read(photos)
    (photos / "cat/all").unlink()
    (photos / "cat/all").symlink_to("/")
    with pytest.raises(DataError, match="which holds it"):
        folder_images(photos)


def test_links_that_multiply_are_read_once(tmp_path: Path) -> None:
    fill(tmp_path / "0", "a.jpg")
    for i in range(1, 40):
        for name in "ab":
            (tmp_path / str(i)).mkdir(exist_ok=True)
            (tmp_path / str(i) / name).symlink_to(tmp_path / str(i - 1))
    assert len(list(walk(tmp_path / "39"))) == 1


def test_links_to_nothing_and_pipes_are_named_not_left_out(photos: Path, capsys) -> None:
    (photos / "cat/3.jpg").symlink_to(photos / "gone.jpg")
    (photos / "cat/self.jpg").symlink_to(photos / "cat/self.jpg")
    os.mkfifo(photos / "cat/pipe.jpg")
    names = [p.path.name for p in find_inputs([photos / "cat"])]
    assert names == ["1.jpg", "2.jpg", "3.jpg", "pipe.jpg", "self.jpg"]
    assert main(["data", "check", str(photos)]) == 1
    out = capsys.readouterr().out
    assert "3.jpg: cannot read the image: No such file or directory" in out
    assert "pipe.jpg: cannot read the image: not a regular file" in out
    for pattern in ("3.jpg", "self.jpg"):
        with pytest.raises(DataError, match=r"no such file or folder \(a link to "):
            find_inputs([photos / "cat" / pattern])
    assert len(find_inputs([photos / "cat" / "[3s]*.jpg"])) == 2


@pytest.mark.parametrize(
    "name", [b"\xff", b"a\nb", b"\x1b[2J", b" cat", b"cat ", "a\u2028b".encode()]
)
def test_class_names_that_a_list_cannot_hold_are_refused(photos: Path, name: bytes) -> None:
    fill(photos, os.fsdecode(name) + "/1.jpg", os.fsdecode(name) + "/2.jpg")
    for read in (split_folder, folder_classes):
        with pytest.raises(DataError, match="expected a class name in UTF-8") as raised:
            read(photos)
        assert str(raised.value).isprintable()


def test_file_names_that_a_list_cannot_hold_are_refused(photos: Path) -> None:
    fill(photos, "cat/a\nb.jpg")
    with pytest.raises(DataError, match="a file name that is not UTF-8 or has control characters"):
        split_folder(photos)
    assert not (photos / "train_list.txt").exists()


def test_names_with_zero_bytes_are_no_files(tmp_path: Path) -> None:
    for name in ("a\0b", "*\0*", "~nobody-at-all/x", "\ud800", "x" * 5000):
        with pytest.raises(DataError, match="no such file or folder"):
            find_inputs([name])


def test_very_deep_folders_are_walked(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(1500):  # more than Python's calls
        deep = deep / "d"
        deep.mkdir()
    (deep / "a.jpg").write_bytes(b"x")
    assert find_images(tmp_path) == [deep / "a.jpg"]
    (deep / "a.jpg").unlink()
    while deep != tmp_path:  # too deep for pytest to remove
        deep.rmdir()
        deep = deep.parent


def test_a_validation_folder_may_lack_classes_if_one_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from ppcls.config.schema import Config

    for name in ("cat", "dog", "emu"):
        fill(tmp_path / "train" / name, "1.jpg")
    fill(tmp_path / "val/dog", "2.jpg")
    (tmp_path / "val/emu").mkdir()

    with pytest.raises(DataError, match=r"no images|found only"):
        split_folder(tmp_path)
    (tmp_path / "val/emu").rmdir()
    fill(tmp_path / "val/cat", "3.jpg")
    with pytest.raises(DataError, match=r"in train/, but not in val/: emu; if that is meant, .*"):
        split_folder(tmp_path)
    assert main(["data", "split", str(tmp_path), "--allow-missing"]) == 0
    assert (tmp_path / "val_list.txt").read_text() == "val/cat/3.jpg 0\nval/dog/2.jpg 1\n"
    assert (tmp_path / "label_list.txt").read_text() == "0 cat\n1 dog\n2 emu\n"

    def config(**options) -> Config:
        data = {"name": "ImageFolder", "transform_ops": [{"DecodeImage": {}}]}
        sets = {
            "Train": {**data, "image_root": str(tmp_path / "train")},
            "Eval": {**data, "image_root": str(tmp_path / "val"), **options},
        }
        loaders = {k: {"dataset": v, "sampler": {"batch_size": 2}} for k, v in sets.items()}
        return Config(Arch={"name": "SqueezeNet1_1", "class_num": 3}, DataLoader=loaders)

    with pytest.raises(DataError, match=r"in only one of them: emu; set .* or allow_missing: true"):
        resolve_classes(config())
    resolved = resolve_classes(config(allow_missing=True)).DataLoader.Eval.dataset
    assert [s.label for s in resolved.read(3)] == [0, 1]
    fill(tmp_path / "val/fox", "2.jpg")
    with pytest.raises(DataError, match="different classes, in only one of them: emu, fox"):
        resolve_classes(config(allow_missing=True))
    with pytest.raises(DataError, match="in val/, but not in train/: fox"):
        split_folder(tmp_path, allow_missing=True, overwrite=True)
