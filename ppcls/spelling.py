"""Suggest the known word closest to a misspelt one."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import ParamSpec, TypeVar

from ppcls.errors import ConfigError

__all__ = ["closest", "did_you_mean", "names_options", "refuse_unknown"]

P = ParamSpec("P")
R = TypeVar("R")


_LONGEST = 200
"""Comparing longer words would take seconds."""


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known word closest to `word`, if their similarity, 0 to 1, reaches `cutoff`."""
    by_lower = {name.lower(): name for name in known}
    if len(str(word)) > _LONGEST:
        return None
    match = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[match[0]] if match else None


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return `"; did you mean 'x'?"` for the closest known word (see `closest`), or `""`."""
    found = closest(word, known, cutoff)
    return f"; did you mean {found!r}?" if found else ""


def refuse_unknown(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise `ConfigError` for the first given option of `what` that is not known."""
    known = list(known)
    for word in given:
        if word not in known:
            hint = did_you_mean(word, known) or f"; known: {', '.join(known)}"
            raise ConfigError(f"{what} has no option {word!r}{hint}")


def names_options(function: Callable[P, R]) -> Callable[P, R]:
    """Make a misspelt keyword of a function a `ConfigError` that suggests the right one."""
    known = list(inspect.signature(function).parameters)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        refuse_unknown(function.__name__, kwargs, known)
        return function(*args, **kwargs)

    return checked
