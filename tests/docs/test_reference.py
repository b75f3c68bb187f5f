"""What is public is on the page of the Python reference, and alone on the others."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import ppcls
from ppcls import errors

DOCS = ROOT / "docs"
CONTRIBUTORS = ("add_architecture", "api", "architecture")
PAGES = sorted([ROOT / "README.md", ROOT / "README.zh.md", *DOCS.glob("*.md")])
PAGES = [page for page in PAGES if page.name.partition(".")[0] not in CONTRIBUTORS]
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))


def test_the_reference_lists_all_that_is_public() -> None:
    text = (DOCS / "api.md").read_text("utf-8")
    public = re.findall(r"^::: ppcls\.(\w+)$", text, re.M)
    public.remove("errors")
    assert sorted(public) == sorted(ppcls.__all__)
    (members,) = re.findall(r"^::: ppcls\.errors\n.*?members: \[(.*?)\]", text, re.M | re.S)
    raised = [name for name in errors.__all__ if isinstance(getattr(errors, name), type)]
    assert sorted([*members.split(", "), "PpclsError"]) == sorted(raised)


def test_every_public_name_is_there() -> None:
    for name in ppcls.__all__:
        assert getattr(ppcls, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = ppcls.no_such_name


@pytest.mark.parametrize("place", [*PAGES, *EXAMPLES], ids=lambda place: place.name)
def test_users_are_shown_public_names_alone(place: Path) -> None:
    text = place.read_text("utf-8")
    assert re.findall(r"^ *(?:from|import) ppcls\.(?!errors\b).*", text, re.M) == []
    if place.suffix == ".md":
        named = re.findall(r"\bppcls\.(\w+)\.\w+", text)
        assert [name for name in named if name != "errors" and name.islower()] == []


def test_the_page_on_the_architecture_is_up_to_date() -> None:
    text = (DOCS / "architecture.md").read_text("utf-8")
    layers = (ROOT / "pyproject.toml").read_text("utf-8").partition("\nlayers = [\n")[2]
    layers = re.findall(r'"(.*?)"', layers.partition("]")[0])
    drawn = re.findall(r"^([a-z_]+(?: \| [a-z_]+)*)(?:   .*)?$", text.split("```")[1], re.M)
    assert drawn == layers
    listed = re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.*?) \|", text, re.M)))
    assert sorted(listed) == sorted(name for layer in layers for name in layer.split(" | "))
    named = re.findall(r"`([a-z_]+(?:\.\w+)+)`", text)
    named = [name for name in named if not name.endswith((".pdparams", ".py", ".yaml", ".yml"))]
    assert len(named) > 20
    for name in named:
        found: Any = ppcls
        for part in name.split("."):
            if not hasattr(found, part):
                import_module(f"{found.__name__}.{part}")
            found = getattr(found, part)
