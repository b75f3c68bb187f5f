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
sys.path.insert(0, str(DOCS))
import hooks  # noqa: E402

ENGLISH = [
    page
    for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
    if not page.name.endswith(".zh.md")
]
OUTSIDE_THE_SITE = [
    ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md", "SECURITY.md")
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site; mkdocs.yml is strict: a link, an anchor or a page missing is an error."""
    if find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.process
def test_the_site_builds_without_a_warning(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text("utf-8"))
    (page,) = (entry for entry in index["docs"] if entry["location"] == "zh/evaluation/")
    assert "评估" in re.split(index["config"]["separator"], page["text"]), "no words to search for"
    images = (site / "zh/images/index.html").read_text("utf-8")
    assert "除段之间有多余字节外" in images, "a gap where the line ends in the source"


@pytest.mark.process
def test_no_table_is_cut_on_a_page_or_on_a_phone(site: Path) -> None:
    pages = sorted(site.rglob("index.html"))
    assert len(pages) > 60
    cut = []
    for page in pages:
        html = page.read_text("utf-8")
        assert "stylesheets/extra.css" in html
        for table in re.finditer(r"<table>.*?</table>", html, re.S):
            stacked = html.endswith('<div class="stacked">', 0, table.start())
            if hooks.least_width(table[0]) > (hooks.PAGE if stacked else hooks.PHONE):
                cut.append(f"{page.relative_to(site)}: {table[0][:200]}")
    assert cut == []


def test_a_table_too_wide_for_a_phone_names_the_column_of_each_cell() -> None:
    def table(heads: list[str], *rows: list[str]) -> str:
        lines = ["<tr>" + "".join(f"<th>{h}</th>" for h in heads) + "</tr></thead>", "<tbody>"]
        lines += ["<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows]
        return "\n".join(["<table><thead>", *lines, "</tbody></table>"])

    narrow = table(["a", "b"], ["some words " * 9, "1"])
    like = table(["key", "", "in <em>&quot;MiB&quot;</em>"], ["a", "", "1"])
    wide = table(
        ["key", "", "in <em>&quot;MiB&quot;</em>"], ["a" * 30, "b" * 30, "1"], ["c", "d", "2"]
    )
    shown = hooks.on_page_content("\n".join([narrow, wide, like]))
    assert narrow in shown
    assert shown.count('<div class="stacked"><table>') == 2
    rows = [row for row in re.findall(r"<tr>(.*?)</tr>", shown) if "data-label" in row]
    label = 'data-label="in &quot;MiB&quot;"'
    assert rows == [
        f'<td data-label="key">{"a" * 30}</td><td>{"b" * 30}</td><td {label}>1</td>',
        f'<td data-label="key">c</td><td>d</td><td {label}>2</td>',
        f'<td data-label="key">a</td><td></td><td {label}>1</td>',
    ]


@pytest.mark.process
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
