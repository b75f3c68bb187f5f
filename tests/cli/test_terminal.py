"""What the command line shows and returns when names, values, output or the code are hostile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ppcls
from ppcls.cli import main
from ppcls.errors import ConfigError, DataError, ImageError
from ppcls.evaluation.report import class_table
from ppcls.metrics.single_label import ClassRow
from ppcls.printable import counted, printable

HOSTILE = "a\x1b[31m\nb\u202ec\x9b\udce9"
LEVEL = "GLOG_minloglevel"
SHOWN = "a\\x1b[31m\\nb\\u202ec\\x9b\\udce9"


def test_control_characters_are_shown_as_escapes_everywhere() -> None:
    assert printable(HOSTILE) == printable(SHOWN) == SHOWN
    harmless = "données 日本語\u3000👩\u200d🚀 a\\b"
    assert printable(harmless) == harmless
    assert str(DataError(f"{HOSTILE}: wrong")) == f"{SHOWN}: wrong"
    assert str(ConfigError("first", HOSTILE)) == f"first\n{SHOWN}"
    assert SHOWN in str(ImageError("no image", HOSTILE))
    rows = [ClassRow(i, name, 1, 1, 1.0, 1.0, 1.0) for i, name in enumerate(("\x1b[3m\n", "b"))]
    table = class_table(rows).split("\n")
    assert len(table) == 3
    assert "\\x1b[3m\\n" in table[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", HOSTILE],
        ["list", HOSTILE],
        [HOSTILE],
        ["train", "-c", HOSTILE],
        ["config", "HarDNet68", "-o", f"{HOSTILE}=1"],
        ["config", "HarDNet68", "--plugin", HOSTILE],
        ["predict", HOSTILE, HOSTILE],
        ["data", "split", HOSTILE],
        ["convert", HOSTILE, "a.npz"],
        ["train", "-c", "HarDNet68\0"],
    ],
)
def test_hostile_arguments_are_one_printable_line(
    arguments: list[str], capsys: pytest.CaptureFixture
) -> None:
    try:
        status = main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    said = capsys.readouterr().err
    assert status in (1, 2)
    assert "unexpected" not in said
    errors = [line for line in said.split("\n") if ": error: " in line]
    assert len(errors) == 1
    assert printable(errors[0]) == errors[0]


def test_predictions_and_configurations_are_printable(
    bundle: Path, colours: Path, capsys: pytest.CaptureFixture
) -> None:
    spec = bundle / "inference.yml"
    text = spec.read_text("utf-8").replace("- green\n", '- "g\\e[3m\\nn\\u202e"\n')
    spec.write_text(text, "utf-8")
    images = [str(path) for path in sorted((colours / "green").iterdir())[:2]]
    assert main(["predict", str(bundle), *images, "--format", "table", "--topk", "3"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 3
    assert all("g\\x1b[3m\\nn\\u202e" in line and printable(line) == line for line in lines[:2])

    value = 'Global.output_dir="a\u202e\\n\\e"'
    assert main(["config", "HarDNet68", "-o", value]) == 0
    shown = capsys.readouterr().out
    assert all(printable(line) == line for line in shown.split("\n"))
    assert '  output_dir: "a\\u202E\\n\\e"' in shown


def test_a_name_that_is_not_utf_8_is_written(bundle: Path, tmp_path: Path, colours: Path) -> None:
    image = next((colours / "red").iterdir())
    odd = tmp_path / "caf\udce9.png"
    odd.write_bytes(image.read_bytes())
    files = {kind: str(tmp_path / f"answers.{kind}") for kind in ("json", "jsonl", "csv")}
    options = [word for kind, file in files.items() for word in (f"--{kind}", file)]
    assert main(["predict", str(bundle), str(odd), *options]) == 0
    for file in files.values():
        assert "caf\\udce9.png" in Path(file).read_text("utf-8")


def test_an_unexpected_error_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "faulty_plugin.py").write_text(
        "import ppcls\n"
        "@ppcls.register_transform\n"
        "class Faulty(ppcls.Transform):\n"
        "    def model_post_init(self, context): [][1]\n"
        "    def __call__(self, image, rng): return image\n"
    )
    plugin = str(tmp_path / "faulty_plugin.py")
    options = ["-o", "Infer.transforms=[{DecodeImage: }, {Faulty: }]"]
    try:
        assert main(["config", "HarDNet68", "--plugin", plugin, *options]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "unexpected IndexError at" in said
        assert "faulty_plugin.py:4: list index out of range" in said
        assert "please report it with the command and `ppcls --version`" in said
        monkeypatch.setenv("PPCLS_TRACEBACK", "1")
        assert main(["config", "HarDNet68", "--plugin", plugin, *options]) == 1
        assert "Traceback (most recent call last)" in capsys.readouterr().err
    finally:
        from ppcls.data.transforms.base import TRANSFORMS

        TRANSFORMS.remove("Faulty")
        sys.modules.pop("faulty_plugin", None)


@pytest.mark.process
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_named(unbuffered: str) -> None:
    done = subprocess.run(
        f"PYTHONUNBUFFERED={unbuffered} {sys.executable} -m ppcls list > /dev/full",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == ("ppcls: error: standard output: cannot write: No space left on device\n")


@pytest.mark.process
def test_a_closed_standard_output_is_no_error() -> None:
    command = f"{sys.executable} -m ppcls list >&-"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "misspelt", "right"),
    [
        ("train", "overwite", "overwrite"),
        ("export", "input_siz", "input_size"),
        ("load_config", "override", "overrides"),
        ("data_overrides", "flatt", "flat"),
        ("evaluate", "allow_randm", "allow_random"),
        ("evaluate_model", "modell", "model"),
        ("open_data", "configs", "config"),
        ("profile", "input_sizes", "input_size"),
        ("load_weights", "adapts", "adapt"),
        ("split_folder", "seeds", "seed"),
        ("register_architecture", "cards", "card"),
        ("create_model", "class_nums", "class_num"),
        ("Predictor", "batchsize", "batch_size"),
    ],
)
def test_a_misspelt_argument_is_suggested(name: str, misspelt: str, right: str) -> None:
    given = ["HarDNet68"] if name == "create_model" else ["/tmp"] if name == "Predictor" else []
    with pytest.raises(ConfigError, match=f"no option '{misspelt}'; did you mean '{right}'"):
        getattr(ppcls, name)(*given, **{misspelt: 1})


def test_paddles_log_lines_are_silenced_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LEVEL, "0")
    monkeypatch.delenv("GLOG_v", raising=False)
    assert ppcls.create_model
    assert os.environ[LEVEL] == "0"
    monkeypatch.delenv(LEVEL)
    assert ppcls.create_model
    assert os.environ[LEVEL] == "2"
    monkeypatch.delenv(LEVEL)
    monkeypatch.setenv("GLOG_v", "1")
    assert ppcls.create_model
    assert LEVEL not in os.environ


def test_one_is_singular() -> None:
    assert counted(1, "epoch") == "1 epoch"
    assert counted(2, "batch", "batches") == "2 batches"
