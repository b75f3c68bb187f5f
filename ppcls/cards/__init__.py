"""Model cards: what is known of each architecture, as plain data that needs no Paddle.

One file a family holds the cards; this module looks them up.
"""

from __future__ import annotations

import fnmatch

from ppcls.cards import alexnet, darknet, densenet, dpn, hardnet, hrnet, senet, squeezenet
from ppcls.cards.card import Checkpoint, ModelCard, Published
from ppcls.errors import ConfigError, did_you_mean

__all__ = ["Checkpoint", "ModelCard", "Published", "list_models", "model_card"]

_CARDS: dict[str, ModelCard] = {
    card.name: card
    for family in (alexnet, darknet, densenet, dpn, hardnet, hrnet, senet, squeezenet)
    for card in family.CARDS
}


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of the architectures that match a shell-style pattern, sorted.

    Case is ignored: `list_models("hardnet*")` finds `HarDNet39_ds`.
    """
    return sorted(n for n in _CARDS if fnmatch.fnmatchcase(n.lower(), pattern.lower()))


def model_card(name: str) -> ModelCard:
    """Return the card of an architecture.

    Raises:
        ConfigError: there is no architecture of that name; the message has the closest one.
    """
    if not isinstance(name, str) or name not in _CARDS:
        hint = did_you_mean(name, _CARDS) or "; `ppcls list` prints the names"
        raise ConfigError(f"no architecture is called {name!r}{hint}")
    return _CARDS[name]
