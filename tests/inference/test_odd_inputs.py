"""Predictions for inputs that are no images, and where their pictures may be written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ppcls.cli import main


@pytest.fixture
def photos(colours: Path, tmp_path: Path) -> Path:
    """A folder with one image among what is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "1.png").write_bytes((colours / "red/image 00.PNG").read_bytes())
    (folder / "._1.png").write_bytes(b"x")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    return folder


def test_a_folder_of_odd_files_gives_a_record_for_each(bundle: Path, photos: Path, capsys) -> None:
    assert main(["predict", str(bundle), str(photos)]) == 1
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    errors = {Path(r["filename"]).name: (r["error"] or "").rpartition(": ")[2] for r in records}
    assert errors == {
        "1.png": "",
        "gone.png": "No such file or directory",
        "pipe.png": "not a regular file",
        "zero.png": "not a regular file",
    }


@pytest.mark.parametrize("name", ["gone.png", "gone*.txt", "\ud800"])
def test_what_does_not_exist_is_one_line(bundle: Path, photos: Path, name: str, capsys) -> None:
    assert main(["predict", str(bundle), str(photos / name)]) == 1
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "error" in x]
    assert "no such file or folder" in line
    assert ("a link to nowhere.png" in line) == (name == "gone.png")


def test_pictures_are_not_written_below_an_input_folder(
    bundle: Path, photos: Path, tmp_path: Path, capsys
) -> None:
    before = sorted(photos.rglob("*"))
    for option, place in (
        ("--grid", photos / "grid.png"),
        ("--save-images", photos / "answers"),
        ("--save-images", photos),
    ):
        assert main(["predict", str(bundle), str(photos), option, str(place)]) == 2
        assert "photos" in capsys.readouterr().err
    assert sorted(photos.rglob("*")) == before
    # Beside a single image, and a table among images, are usual.
    options = ["--grid", str(photos / "grid.png"), "--csv", str(photos / "a.csv")]
    assert main(["predict", str(bundle), str(photos / "1.png"), *options]) == 0
