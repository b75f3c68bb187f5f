"""The model pages: they are what the cards and measurements say, and their commands work."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image

from ppcls.cli import main
from ppcls.models.card import ModelCard

MODELS = ROOT / "docs" / "models"
sys.path.insert(0, str(ROOT / "docs" / "model_pages"))
import generate  # noqa: E402

FAMILIES = sorted(generate.families())


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


def commands(page: Path) -> list[str]:
    lines = "".join(blocks(page, "console")).splitlines()
    assert all(line.startswith("$ ") for line in lines)
    return [line[2:] for line in lines]


def test_the_pages_are_those_of_the_cards_and_measurements() -> None:
    expected = generate.pages()
    assert {path.name for path in MODELS.glob("*.md")} == {p for p in expected if p.endswith("md")}
    stale = [path for path, text in expected.items() if (MODELS / path).read_text("utf-8") != text]
    stale += [
        picture.name
        for family, picture in generate.scatter_pictures().items()
        if not generate.is_current(picture, generate.scatter_digest(family))
    ]
    digest = generate.latency_digest()
    stale += [p.name for p in generate.latency_pictures() if not generate.is_current(p, digest)]
    assert stale == [], "run `make docs-models`"


@pytest.mark.parametrize("family", FAMILIES)
def test_each_page_shows_every_architecture_and_what_was_measured_on_a_cpu(family: str) -> None:
    page = (MODELS / f"{family}.md").read_text("utf-8")
    measured = generate.measurements()
    for card in generate.families()[family]:
        assert f"| {card.name} |" in page
        for checkpoint in card.checkpoints:
            assert checkpoint.url in page
        row = re.search(rf"^\| {card.name} \| paddle [\d.]+ \| [\d.]+ \([\d.]+\)", page, re.M)
        assert bool(row) == (card.name in measured)


@pytest.mark.parametrize("family", FAMILIES)
def test_both_languages_show_the_same_commands(family: str) -> None:
    english, chinese = MODELS / f"{family}.md", MODELS / f"{family}.zh.md"
    for language in ("console", "python"):
        assert blocks(english, language) == blocks(chinese, language) != []


def test_a_measurement_is_kept_under_the_name_of_its_architecture() -> None:
    for name, found in generate.measurements().items():
        assert {row["model"] for row in found["rows"]} == {name}
        assert found["machine"]["cpu"]
        assert {row["device"] for row in found["rows"]} == {"cpu"}


@pytest.fixture
def first_day(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    """A folder with pictures by class and an ImageNet of eight; "published" weights in the cache.

    The weights are random: they lie where a download would have put them.
    """
    from ppcls.models.download import cache_path
    from ppcls.models.registry import create_model
    from ppcls.models.weights import save_weights

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PPCLS_HOME", str(tmp_path / "home"))
    shutil.copytree(colours, "photos", ignore=shutil.ignore_patterns("*.txt"))
    pictures = sorted(Path("photos").rglob("*.PNG"))
    imagenet = Path("dataset/ILSVRC2012")
    imagenet.mkdir(parents=True)
    for i, picture in enumerate(pictures[::5]):
        Image.open(picture).resize((260, 240)).save(imagenet / f"{i}.JPEG")
    lines = "".join(f"{i}.JPEG {100 * i}\n" for i in range(len(pictures[::5])))
    for part in ("train", "val"):
        (imagenet / f"{part}_list.txt").write_text(lines)
    shutil.copy(imagenet / "0.JPEG", "picture.jpg")

    shown = request.getfixturevalue("shown")
    if shown.published:
        weights = cache_path(shown.checkpoint().url)
        weights.parent.mkdir(parents=True)
        save_weights(create_model(shown.name), weights)
    return tmp_path


def of_tiny_scale(command: str) -> list[str]:
    """Return the arguments of `ppcls` that a test can afford; what they name stays the same."""
    program, *arguments = shlex.split(command)
    if program == "python":
        # Several GPUs: one process of them, without its launcher.
        arguments = ["train", *arguments[arguments.index("tools/train.py") + 1 :]]
    if arguments[0] == "benchmark":
        return [*arguments, "--seconds", "0.01", "--batch-sizes", "1", "--backends", "paddle"]
    if arguments[0] == "export" and arguments[2] == "output/imagenet":
        return [*arguments, "--input-size", "64"]
    if arguments[0] == "train" and "quick_start/folder" in arguments:
        return [*arguments, "-o", "Global.epochs=1"]
    if arguments[0] == "train":
        return [*arguments, "--check"]
    return arguments


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.training
@pytest.mark.parametrize(
    ("family", "shown"),
    [pytest.param(family, generate.shown(family), id=family) for family in FAMILIES],
)
def test_the_commands_of_a_page_work_in_their_order(
    family: str, shown: ModelCard, first_day: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = MODELS / f"{family}.md"
    asked = commands(page)
    assert len(asked) >= (12 if shown.published else 8)
    for command in asked:
        assert main(of_tiny_scale(command)) == 0, f"{command}\n{capsys.readouterr().err}"
    for program in blocks(page, "python"):
        exec(compile(program, str(page), "exec"), {})
    out = capsys.readouterr().out
    assert "/image 0" in out  # the predictions of the first program
    assert Path("answers.csv").read_text("utf-8").count("photos") > 1
    assert Path("output/inference/inference.json").is_file()
    assert Path("output/report/report.md").is_file() == bool(shown.published)
    assert Path("output/benchmark/benchmark.md").is_file()
