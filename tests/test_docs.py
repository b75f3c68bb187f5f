"""The documentation: it builds, its links hold, and what is generated is up to date."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT

DOCS = ROOT / "docs"
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
    assert "本页尚无中文版" in (tmp_path / "zh/configuration/index.html").read_text("utf-8")
    assert "本页尚无中文版" not in (tmp_path / "zh/images/index.html").read_text("utf-8")


def test_the_configuration_reference_is_that_of_the_schema() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "configuration.py"), "--print"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    page = (DOCS / "configuration.md").read_text("utf-8")
    assert done.stdout == page, "run `make docs-config`"


@pytest.mark.parametrize("page", OUTSIDE_THE_SITE, ids=lambda page: page.name)
def test_links_of_pages_outside_the_site_hold(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = [t for t in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?:|#", t)]
    assert targets
    assert [t for t in targets if not (page.parent / t.partition("#")[0]).exists()] == []
