"""The documentation: it builds, its links hold, and what is generated is up to date."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT

DOCS = ROOT / "docs"
ENGLISH = [
    page
    for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
    if not page.name.endswith(".zh.md")
]
OUTSIDE_THE_SITE = [ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md")]


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    # mkdocs.yml is strict: a link, an anchor or a page that is missing is an error.
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    index = json.loads((tmp_path / "search/search_index.json").read_text("utf-8"))
    (page,) = (entry for entry in index["docs"] if entry["location"] == "zh/evaluation/")
    assert "评估" in re.split(index["config"]["separator"], page["text"]), "no words to search for"
    images = (tmp_path / "zh/images/index.html").read_text("utf-8")
    assert "除段之间有多余字节外" in images, "a gap where the line ends in the source"


def test_the_configuration_reference_is_that_of_the_schema(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, str(DOCS / "configuration.py"), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )
    for name in ("configuration.md", "configuration.zh.md"):
        written, kept = ((folder / name).read_text("utf-8") for folder in (tmp_path, DOCS))
        assert written == kept, f"{name}: run `make docs-config`"


def test_every_page_is_there_in_both_languages() -> None:
    pages = [*DOCS.rglob("*.md"), *ROOT.glob("README*.md")]
    pages = [page for page in pages if DOCS / "model_pages" not in page.parents]
    chinese = {page for page in pages if page.name.endswith(".zh.md")}
    assert chinese == {page.with_suffix(".zh.md") for page in pages if page not in chinese}


@pytest.mark.parametrize("page", ENGLISH, ids=lambda page: page.stem)
def test_both_languages_say_the_same(page: Path) -> None:
    english, chinese = facts(page), facts(page.with_suffix(".zh.md"))
    for kind, found in english.items():
        assert found == chinese[kind], f"{kind} of {page.stem}"


def facts(page: Path) -> dict[str, object]:
    """Return what a translation leaves as it is; comments in code are translated."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"^((?:<!-- not run: [^\n]*\n)?```(\w*)\n.*?^```)", text, re.M | re.S)
    text = re.sub(r"<!--.*?-->|^```.*?^```", "", text, flags=re.M | re.S)
    names = [re.sub(r"\s+", " ", name) for name in re.findall(r"`([^`]+)`", text)]
    return {
        "code": [re.sub(r" *# .*", "", block) for block, language in blocks if language],
        "headings": re.findall(r"^#+ ", text, re.M),
        "rows of tables": len(re.findall(r"^\|", text, re.M)),
        "names": {name for name in names if name.isascii()},
        "links": {link.replace(".zh.md", ".md") for link in re.findall(r"\]\(([^)\s]+)\)", text)},
    }


@pytest.mark.parametrize("page", OUTSIDE_THE_SITE, ids=lambda page: page.name)
def test_links_of_pages_outside_the_site_hold(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = [t for t in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?:|#", t)]
    assert targets
    assert [t for t in targets if not (page.parent / t.partition("#")[0]).exists()] == []
