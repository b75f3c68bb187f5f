"""Lists and label files: their bounds, and the repairs that are named."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path

import pytest

from ppcls.data.datasets import UnlabeledDataset
from ppcls.data.lists import read_label_names, read_lines, scan_image_list
from ppcls.errors import DataError
from ppcls.inference.inputs import find_inputs

OPS = [{"DecodeImage": {}}]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `photos/cats` with images of some names, seen from the folder around it."""
    folder = tmp_path / "photos/cats"
    folder.mkdir(parents=True)
    for name in ("a.jpg", "my cat.jpg", unicodedata.normalize("NFC", "é.jpg")):
        (folder / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return folder.parent


def problems(text: str, name: str = "list.txt", classes: int = 3, **options) -> list[str]:
    Path("photos", name).write_text(text, encoding="utf-8")
    return scan_image_list(f"photos/{name}", "photos", classes, **options)[1]


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("cats/a.jpg\t0\n", r"the line fits the delimiter '\t' instead of ' '"),
        ("cats/my cat.jpg\t0\n", r"the line fits the delimiter '\t' instead of ' '"),
        ("cats/a.jpg,0\n", "the line fits the delimiter ',' instead of ' '"),
        ("cats/a.jpg;9\n", "the line fits the delimiter ';' instead of ' '"),
        ("cats\\a.jpg 0\n", "photos/cats\\a.jpg; it is there with the path with / for \\"),
        ("cats/a.jpg  0\n", "'photos/cats/a.jpg '; it is there with the path without the blanks"),
        ('"cats/my cat.jpg" 0\n', "it is there with the path without the quotes around it"),
        ("/cats/a.jpg 0\n", "it is there with the path without the / before it"),
        ("photos/cats/a.jpg 0\n", "photos/photos/cats/a.jpg; it is there with image_root ."),
        (
            "photos\\cats\\a.jpg 0\n",
            "it is there with the path with / for \\ and image_root .",
        ),
        (f"cats/{unicodedata.normalize('NFD', 'é')}.jpg 0\n", "in Unicode's composed form"),
        ("cats 0\n", "a folder, not an image: photos/cats"),
        ("cats/gone.jpg 0\n", "no such image: photos/cats/gone.jpg; is image_root (photos) the"),
    ],
)
def test_a_repair_that_would_fit_is_named(root: Path, text: str, advice: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith("photos/list.txt:1: ")
    assert advice in problem.replace(str(root.parent), ".")


def test_an_advice_is_given_once_and_only_where_it_fits(root: Path) -> None:
    found = problems("cats/a.jpg,0\ncats/my cat.jpg,1\ncats/a.jpg\n")
    assert ["fits" in line for line in found] == [True, False, False]
    assert "delimiter" not in problems("cats/a.jpg cat\n")[0]
    with pytest.raises(DataError, match=r"separated by ';': save it with commas"):
        problems("path;label\ncats/a.jpg;0\n", "list.csv")


def test_labels_that_begin_at_one_are_one_problem(root: Path) -> None:
    lines = [f"cats/a.jpg {label}\n" for label in (1, 2, 3) for _ in range(20)]
    (problem,) = problems("".join(lines), set_by="Arch.class_num")
    assert "its labels are 1 to 3, expected 0 to 2: do they begin at 1?" in problem
    assert "set Arch.class_num to 4" in problem
    # With a label 0 they do not; each line is named.
    assert len(problems("cats/a.jpg 0\ncats/a.jpg 3\ncats/a.jpg 3\n")) == 2


DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", f"cats/a.jpg {DIGITS}\n"),
        ("a.csv", f"path,label\ncats/a.jpg,{DIGITS}\n"),
        ("a.jsonl", f'{{"path": "cats/a.jpg", "label": {DIGITS}}}\n'),
        ("a.jsonl", json.dumps({"path": "cats/a.jpg", "label": DIGITS})),
        ("a.jsonl", '{"path": "cats/a.jpg", "label": ' + "[" * 100_000),
        ("a.jsonl", json.dumps({"path": "cats/\0.jpg", "label": 0})),
        ("a.jsonl", '{"path": "cats/\\ud800.jpg", "label": 0}\n'),
        ("a.jsonl", '{"path": "cats/\\u001b[2J.jpg", "label": 0}\n'),
        ("a.txt", "cats/\0.jpg 0\n"),
        ("a.txt", f"{'x' * 100_000} 0\n"),
        ("a.txt", f"{'x' * 100_000}\n"),
    ],
)
def test_hostile_lines_are_one_short_printable_problem(root: Path, name: str, text: str) -> None:
    (problem,) = problems(text, name)
    assert problem.isprintable()
    assert len(problem) < 500
    assert re.match(rf"photos/{name}:[12]: ", problem)


def test_a_csv_field_without_end_is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv:\d+: not a line of a CSV file"):
        problems('path,label\n"' + "x" * 200_000, "a.csv")


def test_what_has_no_end_is_not_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    zeros = tmp_path / "zeros.txt"
    zeros.symlink_to("/dev/zero")
    for path in (pipe, zeros):
        with pytest.raises(DataError, match="cannot read the label list: not a regular file"):
            read_label_names(path)
        with pytest.raises(DataError, match="cannot read the image list: not a regular file"):
            scan_image_list(path, tmp_path, 3)
    # A sparse file: it takes no disk, and no memory either.
    for size, message in (
        (2**30 + 1, "larger than 1024 MiB"),
        (2**29, "sparse.txt:1: the line is longer than 1 MiB; is this an image list?"),
    ):
        with (tmp_path / "sparse.txt").open("wb") as file:
            file.truncate(size)
        with pytest.raises(DataError, match=re.escape(message)):
            read_lines(tmp_path / "sparse.txt", "image list")


def test_line_ends_of_all_systems_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for end in ("\n", "\r\n", "\r"):
        path.write_bytes(f"\ufeffa 0{end}{end}b 1{end}".encode())
        assert read_lines(path, "image list") == [(1, "a 0"), (3, "b 1")]
    path.write_bytes(b"a 0\nb\xff 1\n")
    with pytest.raises(DataError, match=r"a\.txt:2: the image list is not UTF-8 \(byte 1\)"):
        read_lines(path, "image list")


@pytest.mark.parametrize("text", [f"{DIGITS} cat\n", f"0 cat\n{DIGITS} dog\n", "² cat\n"])
def test_labels_that_no_model_has_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(DataError, match=r"l\.txt:\d: expected 'label name', found '"):
        read_label_names(tmp_path / "l.txt")


def test_a_list_to_predict_reads_long_lines_at_once(root: Path) -> None:
    path = root / "p.txt"
    path.write_text(
        f"cats/a.jpg 1\ncats/my cat.jpg\ncats/a.jpg\t -2\nx {DIGITS}\na{' ' * 10**5}b\n"
    )
    found = find_inputs([path])
    assert [(p.path.name, p.label) for p in found[:3]] == [
        ("a.jpg", 1),
        ("my cat.jpg", None),
        ("a.jpg", -2),
    ]
    assert [p.label for p in found[3:]] == [None, None]


def test_unlabelled_lists_name_their_lines(root: Path) -> None:
    (root / "u.txt").write_text("cats/a.jpg\ncats\\a.jpg\n")
    options = {"image_root": "photos", "cls_label_path": "photos/u.txt", "transform_ops": OPS}
    samples, found = UnlabeledDataset(name="UnlabeledDataset", **options).scan(3)
    assert len(samples) == 1
    (problem,) = found
    assert problem.startswith("photos/u.txt:2: no such image: ")
    assert problem.endswith("it is there with the path with / for \\")
