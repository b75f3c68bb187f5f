"""`ppcls predict` and what it writes; the backends on one real export."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from ppcls.bundle import read_bundle
from ppcls.cli import main
from ppcls.errors import ConfigError, RunError
from ppcls.inference.inputs import find_inputs
from ppcls.inference.predictor import Predictor
from ppcls.inference.results import Result
from ppcls.inference.writers import WRITERS, CsvWriter, JsonLinesWriter, JsonWriter, Writer

NAMES = ["bleu pâle", "green", "red"]


def write_many(writer: Writer) -> None:
    for i in range(100):
        writer.write(Result(f"näme {i}", [1], [0.5], ["x"]))


def records(path: Path) -> list[dict]:
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["error"] = row["error"] or None
        for key in ("class_ids", "scores", "label_names"):
            row[key] = json.loads(row[key])
    return rows


def test_all_files_hold_the_same_records(bundle: Path, colours: Path, tmp_path: Path, capsys):
    (tmp_path / "broken.png").write_bytes(b"x")
    files = {kind: tmp_path / f"answers.{kind}" for kind in WRITERS}
    options = [text for kind, path in files.items() for text in (f"--{kind}", str(path))]
    inputs = [str(colours / "red"), str(tmp_path / "broken.png")]
    assert main(["predict", str(bundle), *inputs, *options]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "1 of 13 images could not be read" in printed.err
    assert "backend  paddle" in printed.err
    found = [records(path) for path in files.values()]
    assert found[0] == found[1] == found[2]
    assert [list(record) for record in found[0]] == [
        ["filename", "class_ids", "scores", "label_names", "error"]
    ] * 13
    assert [r["error"] is None for r in found[0]] == [True] * 12 + [False]
    assert found[0][0]["filename"] == str(colours / "red" / "image 00.PNG")
    assert set(found[0][0]["label_names"]) < set(NAMES)


def test_a_pipe_gets_json_lines_and_a_threshold_leaves_classes_out(
    bundle: Path, colours: Path, capsys
):
    picture = str(colours / "red" / "image 03.PNG")
    assert main(["predict", str(bundle), picture, "--topk", "3", "--timing"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert len(record["scores"]) == 3
    assert record["batch_size"] == 1
    between = str((record["scores"][0] + record["scores"][1]) / 2)
    assert main(["predict", str(bundle), picture, "--topk", "3", "--threshold", between]) == 0
    assert json.loads(capsys.readouterr().out)["class_ids"] == record["class_ids"][:1]


def test_images_are_saved_with_their_answers(bundle: Path, colours: Path, tmp_path: Path, capsys):
    arguments = [str(colours), "--save-images", str(tmp_path / "out")]
    assert main(["predict", str(bundle), *arguments]) == 0
    out = tmp_path / "out"
    saved = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert len(saved) == 36
    assert saved[0] == "bleu pâle/image 00.png"
    several = [
        str(colours / "green"),
        str(colours / "red"),
        "--save-images",
        str(tmp_path / "flat"),
    ]
    assert main(["predict", str(bundle), *several]) == 0
    saved = sorted(path.name for path in (tmp_path / "flat").iterdir())
    assert len(saved) == 24
    assert saved[:2] == ["image 00-2.png", "image 00.png"]


def test_pictures_of_urls_are_drawn(bundle: Path, colours: Path, tmp_path: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=colours / "red")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/image%2003.PNG"
        drawn = ["--save-images", str(tmp_path / "out"), "--grid", str(tmp_path / "grid.png")]
        assert main(["predict", str(bundle), url, "--allow-url", *drawn]) == 0
        server.shutdown()
    (saved,) = (tmp_path / "out").iterdir()
    assert cv2.imread(str(saved)) is not None
    assert cv2.imread(str(tmp_path / "grid.png")) is not None


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_a_full_disk_leaves_whole_records(kind: str, tmp_path: Path):
    """A limit of the file's size stands in for the disk's: writing fails in the same way."""
    path = tmp_path / f"out.{kind}"
    writer = WRITERS[kind](path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(RunError, match=r"File too large; the file has the \d+ results"):
            write_many(writer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        writer.close()
    assert [r["filename"] for r in records(path)] == [f"näme {i}" for i in range(writer.count)]
    assert writer.count > 3


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_a_device_without_room_is_named(kind: str, bundle: Path, colours: Path, capsys):
    assert main(["predict", str(bundle), str(colours / "red"), f"--{kind}", "/dev/full"]) == 1
    assert "error: /dev/full: cannot write: No space left on device\n" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [JsonWriter, JsonLinesWriter, CsvWriter])
def test_no_answers_are_a_valid_file(kind, tmp_path: Path):
    writer = kind(tmp_path / "out")
    writer.close()
    text = (tmp_path / "out").read_text()
    assert (json.loads(text) if kind is JsonWriter else text.split()) == []
    with pytest.raises(RunError, match="cannot write: No such file or directory"):
        kind(tmp_path / "gone" / "out")


@pytest.mark.process
def test_an_interrupt_keeps_what_is_answered(bundle: Path, colours: Path, tmp_path: Path):
    picture = colours / "red" / "image 03.PNG"
    (tmp_path / "list.txt").write_text(f"{picture}\n" * 50_000)
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "ppcls", "predict", str(bundle), str(tmp_path / "list.txt")]
    # Started in the background of a shell, Python ignores SIGINT.
    process = subprocess.Popen(
        [*command, "--json", str(out), "--batch-size", "4"],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 600
    while not (out.exists() and out.stat().st_size > 5000):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130, errors
    found = records(out)
    assert 10 < len(found) < 50_000
    assert f"{len(found)} of 50000 images done" in errors.decode()


def test_backends_are_listed(capsys):
    assert main(["backends", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["onnxruntime", "openvino", "paddle", "tensorrt"]
    assert "fp32" in found["paddle"]["precisions"]["cpu"]
    assert found["paddle"]["options"]["cpu"] == ["onednn"]
    assert found["openvino"]["reads"] == ["inference.onnx"]
    assert main(["backends"]) == 0
    assert "inference.json or inference.pdmodel" in capsys.readouterr().out


def test_a_predictor_pickles_as_its_configuration(bundle: Path, colours: Path):
    picture = colours / "red" / "image 03.PNG"
    with Predictor(bundle, topk=1, threads=1) as one:
        text = pickle.dumps(one)
        assert len(text) < 1000
        again = pickle.loads(text)
        assert repr(again) == repr(one)
        assert repr(one).endswith("cpu, fp32, 1 thread>")
        assert list(again.predict(picture)) == list(one.predict(picture))


def test_a_threshold_is_a_score(bundle: Path, colours: Path, capsys):
    command = ["predict", str(bundle), str(colours / "red"), "--threshold"]
    for ends, count in (("0", 3), ("1", 0)):
        assert main([*command, ends, "--topk", "3"]) == 0
        first = capsys.readouterr().out.splitlines()[0]
        assert len(json.loads(first)["class_ids"]) == count
    with pytest.raises(SystemExit):
        main([*command, "1.5"])
    assert "--threshold: expected a score, 0 to 1, not 1.5" in capsys.readouterr().err


def test_what_a_bundle_says_itself_is_no_option(bundle: Path, colours: Path, capsys):
    assert main(["predict", str(bundle), str(colours), "--logits"]) == 2
    told = capsys.readouterr().err
    assert "softmax (--logits) is for models without one; for logits, use predict_logits" in told
    assert main(["predict", str(bundle), str(colours), "--transforms", "imagenet"]) == 2
    assert "transforms (--transforms) is for models without one\n" in capsys.readouterr().err


def test_what_a_bundle_cannot_give_is_said(bundle: Path, colours: Path):
    with pytest.raises(ConfigError, match="exported without features"):
        Predictor(bundle).features(colours)
    with pytest.raises(ConfigError, match="no such backend: 'padle'; did you mean 'paddle'"):
        Predictor(bundle, backend="padle")
    assert os.listdir(bundle)  # a predictor writes nothing there
    assert sorted(read_bundle(bundle).files) == sorted(
        name for name in os.listdir(bundle) if name != "inference.yml"
    )


def test_logits_are_those_of_the_network(bundle: Path, colours: Path):
    sources = [one.path for one in find_inputs([colours])]
    with Predictor(bundle, batch_size=5) as one:
        logits = np.stack([r.logits for r in one.predict_logits(sources)])
        answers = list(one.predict(sources))
    assert logits.argmax(axis=1).tolist() == [r.class_ids[0] for r in answers]


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@pytest.mark.slow
def test_memory_is_flat_over_fifty_thousand_predictions(bundle: Path, colours: Path):
    picture = (colours / "red" / "image 03.PNG").read_bytes()
    good, broken, array = picture, picture[:-20], np.zeros((40, 40, 3), np.uint8)

    def predict(predictor: Predictor, count: int) -> None:
        sources = (good if i % 3 else (array if i % 2 else broken) for i in range(count))
        for _ in predictor.predict(sources, timing=True):
            pass

    # As many threads on every machine: malloc keeps memory for each.
    with Predictor(bundle, batch_size=16, workers=2) as predictor:
        for size in range(1, 17):
            list(predictor.predict([good] * size))  # engines keep memory for each batch size
        predict(predictor, 5_000)
        for _ in range(500):
            list(predictor.predict(array))
        before = _resident_mb()
        predict(predictor, 45_000)
        for _ in range(5_000):
            list(predictor.predict(array))
        after = _resident_mb()
    # Less than half a kilobyte for a prediction: a leak of a result or a picture is several.
    assert after - before < 20, f"{before:.0f} MB, then {after:.0f} MB"


def test_no_answer_replaces_what_is_asked_about(bundle: Path, tmp_path: Path, capsys):
    picture = tmp_path / "7.png"
    cv2.imwrite(str(picture), np.zeros((40, 40, 3), np.uint8))
    listed = tmp_path / "list.txt"
    listed.write_text("7.png\n")
    before = picture.read_bytes(), listed.read_bytes()
    for inputs, options, message in (
        (picture, ["--grid", str(picture)], "is an input"),
        (listed, ["--csv", str(listed)], "is an input"),
        (picture, ["--csv", str(tmp_path / "a"), "--jsonl", str(tmp_path / "a")], "another output"),
        (picture, ["--save-images", str(tmp_path)], "holds the input 7.png"),
    ):
        assert main(["predict", str(bundle), str(inputs), *options]) == 2
        assert message in capsys.readouterr().err
    assert (picture.read_bytes(), listed.read_bytes()) == before


def test_a_backend_is_for_bundles(config_file: Path, capsys):
    assert main(["eval", "-c", str(config_file), "--backend", "openvino"]) == 2
    assert "--backend is for --bundle" in capsys.readouterr().err


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def answers(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_standard_input_is_an_image_or_a_list(
    bundle: Path, colours: Path, tmp_path: Path, monkeypatch, capsys
):
    image = colours / "red" / "image 03.PNG"
    assert main(["predict", str(bundle), str(image)]) == 0
    (expected,) = answers(capsys)
    piped(monkeypatch, image.read_bytes())
    drawn = ["--save-images", str(tmp_path / "out"), "--grid", str(tmp_path / "grid.png")]
    assert main(["predict", str(bundle), "-", "--format", "jsonl", *drawn]) == 0
    assert answers(capsys) == [expected | {"filename": "-"}]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["-.png"]
    monkeypatch.chdir(colours)
    piped(monkeypatch, b"red/image 03.PNG\n\nred/image 03.PNG 2\r\n")
    assert main(["predict", str(bundle), "--list", "-", *drawn, "--format", "jsonl"]) == 0
    captured = capsys.readouterr()
    found = [json.loads(line) for line in captured.out.splitlines()]
    assert found == [expected | {"filename": "red/image 03.PNG"}] * 2
    assert "of 1 images match the label" in captured.err
    piped(monkeypatch, b"not an image")
    assert main(["predict", str(bundle), "-"]) == 1
    assert answers(capsys)[0]["error"].startswith("-: not an image")


@pytest.mark.parametrize(
    ("arguments", "data", "status", "message"),
    [
        (["-"], b"", 1, "standard input is empty"),
        (["--list", "-"], b"\n", 1, "standard input: the image list is empty"),
        (["--list", "-"], b"\xff\xd8\xff", 1, "not UTF-8 (byte 0); for an image, write - without"),
        (["-", "--list", "-"], b"x", 2, "can be read only once"),
        ([], b"", 2, "needs an INPUT or --list"),
        (["--list", "-"], b"red\n", 1, "standard input:1: red is a folder; every line names one"),
        (["--list", "-"], b"red/image 03.PNG\nval_list.txt", 1, "input:2: val_list.txt is another"),
        (["--list", "nowhere.txt"], b"", 1, "no such image list: nowhere.txt"),
    ],
)
def test_what_standard_input_and_lists_cannot_hold(
    arguments: list[str], data: bytes, status: int, message: str, bundle: Path, colours: Path,
    monkeypatch, capsys,
):  # fmt: skip
    monkeypatch.chdir(colours)
    piped(monkeypatch, data)
    assert main(["predict", str(bundle), *arguments]) == status
    assert message in capsys.readouterr().err


def test_a_folder_with_the_suffix_of_an_image_is_an_error_of_its_own(
    bundle: Path, colours: Path, tmp_path: Path, capsys
):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "list.txt").write_text(f"folder.png\n{colours / 'red' / 'image 03.PNG'}\n")
    assert main(["predict", str(bundle), str(tmp_path / "list.txt")]) == 1
    first, second = answers(capsys)
    assert "Is a directory" in first["error"]
    assert second["error"] is None


def test_options_stand_anywhere_between_the_arguments(bundle: Path, colours: Path, capsys):
    picture = str(colours / "red" / "image 03.PNG")
    told = []
    for arguments in (
        [str(bundle), picture, "--topk", "1", "--threads", "1"],
        ["--topk", "1", str(bundle), "--threads", "1", picture],
        [str(bundle), "--topk", "1", picture, "--threads", "1"],
    ):
        assert main(["predict", *arguments]) == 0
        told += answers(capsys)
    assert told[0] == told[1] == told[2]
