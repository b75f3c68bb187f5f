"""The catalogue of architectures: their cards, by name. Needs no Paddle.

Every folder beside this file is a family; its `cards.py` has the cards of its architectures in
`CARDS`. `ppcls.register_architecture` adds those of users.
"""

from __future__ import annotations

import fnmatch
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import ppcls.models
from ppcls.errors import ConfigError
from ppcls.models.card import ModelCard
from ppcls.spelling import did_you_mean

__all__ = [
    "ALIKE",
    "add_card",
    "family_module",
    "list_families",
    "list_models",
    "model_card",
    "unknown",
]

_ADDED: dict[str, ModelCard] = {}

ALIKE = 0.75
"""The similarity of a misspelt name: ResNet50 and DenseNet201 have less."""


@cache
def _found() -> dict[str, tuple[ModelCard, str]]:
    """Return the cards of the families beside this file, each with its package."""
    families = [info.name for info in iter_modules(ppcls.models.__path__) if info.ispkg]
    packages = [f"{ppcls.models.__name__}.{family}" for family in families]
    return {
        card.name: (card, package)
        for package in packages
        for card in import_module(f"{package}.cards").CARDS
    }


def add_card(card: ModelCard) -> None:
    """Add the card of a user's architecture for `model_card` and `list_models`."""
    _ADDED[card.name] = card


def family_module(name: str) -> str | None:
    """Return the module that builds one of our architectures; None for a user's architecture."""
    return f"{_found()[name][1]}.network" if name in _found() else None


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of the architectures that match a shell-style pattern, sorted.

    Case is ignored: `list_models("hardnet*")` finds `HarDNet39_ds`.
    """
    names = {*_found(), *_ADDED}
    return sorted(n for n in names if fnmatch.fnmatchcase(n.lower(), pattern.lower()))


def list_families() -> list[str]:
    """Return the names of the families of architectures, sorted."""
    return sorted({model_card(name).family for name in list_models()})


def unknown(name: str) -> str:
    """Return the error about an unknown architecture, with the closest one or the families."""
    hint = did_you_mean(name, list_models(), cutoff=ALIKE) or (
        f"; the families here are {', '.join(list_families())}, and `ppcls list` prints the names"
    )
    return f"no architecture is called {name!r}{hint}"


def model_card(name: str) -> ModelCard:
    """Return the card of an architecture.

    Raises:
        ConfigError: there is no architecture of that name; the message has the closest one, or the
            families.
    """
    if isinstance(name, str):
        if name in _ADDED:
            return _ADDED[name]
        if name in _found():
            return _found()[name][0]
    raise ConfigError(unknown(name))
