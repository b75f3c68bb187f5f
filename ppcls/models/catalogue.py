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

__all__ = ["add_card", "family_module", "list_models", "model_card"]

_ADDED: dict[str, ModelCard] = {}


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


def model_card(name: str) -> ModelCard:
    """Return the card of an architecture.

    Raises:
        ConfigError: there is no architecture of that name; the message suggests the closest one.
    """
    if isinstance(name, str):
        if name in _ADDED:
            return _ADDED[name]
        if name in _found():
            return _found()[name][0]
    hint = did_you_mean(name, list_models()) or "; `ppcls list` prints the names"
    raise ConfigError(f"no architecture is called {name!r}{hint}")
