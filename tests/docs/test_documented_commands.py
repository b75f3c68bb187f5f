"""What pages tell a reader to type works: every command parses, and the first hour runs.

On the pages of the first hour each block of commands runs, in order, in a folder with a few
pictures. A block that cannot says so and why on the line above it: `<!-- not run: needs … -->`.
Trainings are cut to two short epochs.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import ROOT

import ppcls
from ppcls.cli import _parser, main
from ppcls.cli.options import config_of
from ppcls.models.download import cache_path

PAGES = sorted([ROOT / "README.md", ROOT / "README.zh.md", *(ROOT / "docs").glob("*.md")])
RUN = [ROOT / name for name in ("README.md", "docs/quick_start.md", "docs/own_data.md")]
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]+) -->\n)?```console\n(?P<text>.*?)```", re.DOTALL
)


class Command(NamedTuple):
    words: list[str]
    output: str
    run: bool


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands of a page, and what it says that they print."""
    for block in BLOCK.finditer(page.read_text("utf-8")):
        for part in re.split(r"^\$ ", block["text"].replace("\\\n", " "), flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            shell = shlex.shlex(line, posix=True, punctuation_chars=True)
            shell.whitespace_split = True
            words = list(shell)
            ends = [i for i, word in enumerate(words) if word in ("|", ">", "&&", ";")]
            yield Command(words[: ends[0]] if ends else words, output, block["why"] is None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_ones_that_exist(page: Path) -> None:
    for command in commands(page):
        program, *arguments = command.words
        if program != "ppcls":
            continue
        try:
            args = _parser("ppcls").parse_args(arguments)
        except SystemExit:
            pytest.fail(f"{page.name}: {shlex.join(command.words)}")
        shipped = f"{getattr(args, 'config', None)}.yaml"
        if (ROOT / "configs" / shipped).is_file() and not command.output:
            args.data = None
            config_of(args)


@pytest.mark.process
@pytest.mark.training
@pytest.mark.parametrize(
    "page",
    # The README shows the commands of the others; the way is the same.
    [RUN[0], *(pytest.param(page, marks=pytest.mark.slow) for page in RUN[1:])],
    ids=lambda page: page.stem,
)
def test_the_first_hour_runs(
    page: Path,
    colours: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PPCLS_HOME", str(tmp_path / "home"))
    # What the network would give: `ppcls fit` begins with published weights.
    weights = cache_path(ppcls.model_card("SqueezeNet1_1").checkpoint("").url)
    weights.parent.mkdir(parents=True)
    ppcls.save_weights(ppcls.create_model("SqueezeNet1_1"), weights)
    for name in ("photos", "new_photos"):
        ignore = shutil.ignore_patterns("*.txt")
        shutil.copytree(colours, tmp_path / name, ignore=ignore)
    for command in commands(page):
        if not command.run:
            continue
        assert command.words[0] == "ppcls", f"{page.name} says neither how nor why not"
        arguments = command.words[1:]
        if arguments[0] == "train" and not command.output:
            arguments += ["--overwrite", "-o", "Global.epochs=2"]
        capsys.readouterr()
        try:
            status = main(arguments)
        except SystemExit as error:
            status = error.code
        said = capsys.readouterr()
        if command.output:
            assert status
            assert said.err == command.output
        else:
            assert status == 0, f"{shlex.join(arguments)}\n{said.err}"
        if arguments[:2] == ["data", "digits"]:
            keep_few(tmp_path / arguments[2])


def test_the_first_page_of_the_site_has_commands_of_the_readme() -> None:
    run = [command for command in commands(ROOT / "README.md") if command.run]
    first = list(commands(ROOT / "docs/index.md"))
    assert first
    assert [command for command in first if command not in run] == []


def keep_few(folder: Path) -> None:
    """Leave a few digits of each class in the lists."""
    for name in ("train_list.txt", "val_list.txt"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        step = max(1, len(lines) // 64)
        (folder / name).write_text("".join(lines[::step][:64]))


def test_every_command_has_a_place_on_the_page_of_commands() -> None:
    page = (ROOT / "docs/commands.md").read_text("utf-8")
    names = re.findall(r"^    (\w+) ", _parser("ppcls").format_help(), re.MULTILINE)
    assert len(names) > 8
    assert [name for name in names if not re.search(rf"`ppcls {name}\b", page)] == []


@pytest.mark.process
@pytest.mark.slow
def test_the_page_on_adding_an_architecture_ends_in_passing_tests(tmp_path: Path) -> None:
    copy = tmp_path / "ppcls"
    ignored = shutil.ignore_patterns(".git", ".venv*", "*cache*", "build", "demo")
    shutil.copytree(ROOT, copy, ignore=ignored)
    page = ROOT / "docs/add_architecture.md"
    text = page.read_text("utf-8")
    network, card = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    (words,) = re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S)
    family = copy / "ppcls/models/tinynet"
    family.mkdir()
    (family / "__init__.py").write_text('"""TinyNet."""\n')
    (family / "network.py").write_text(network)
    (family / "cards.py").write_text(card)
    with (copy / "docs/model_pages/families.yaml").open("a", encoding="utf-8") as families:
        families.write(words)
    outputs = []
    for program, *arguments in (command.words for command in commands(page)):
        if arguments == ["docs-models"]:
            program, arguments = "python", ["docs/model_pages/generate.py"]
        if arguments[0] == "benchmark":
            continue  # a choice
        done = subprocess.run(
            [sys.executable, *(["-m", "ppcls"] if program == "ppcls" else []), *arguments],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        outputs.append(done.stdout)
    assert all(line in card for line in outputs[0].split())
