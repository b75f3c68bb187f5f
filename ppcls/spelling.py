"""Suggest the known word closest to a misspelt one."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import ParamSpec, TypeVar

from ppcls.errors import ConfigError

__all__ = ["did_you_mean", "names_options", "refuse_unknown"]

P = ParamSpec("P")
R = TypeVar("R")


_LONGEST = 200
"""Comparing longer words would take seconds."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the known word closest to `word`, or `""`."""
    by_lower = {name.lower(): name for name in known}
    if len(str(word)) > _LONGEST:
        return ""
    match = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[match[0]]!r}?" if match else ""


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
