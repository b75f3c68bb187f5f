"""Show text from files, names and arguments without letting it control the terminal."""

from __future__ import annotations

import re
from typing import TextIO

__all__ = ["counted", "printable", "say", "shortened"]

# C0 and C1 controls, line and paragraph separators, marks and overrides of the writing direction,
# byte order marks, annotations, and halves of surrogate pairs, which cannot be encoded.
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff]"
)
_LONGEST = 4000


def printable(text: object) -> str:
    """Return text with line breaks, terminal escapes and bidirectional controls as escapes.

    `printable` of the result is the result. A name that the system cannot decode has the escapes of
    its bytes as Python shows them (`\\\\udce9`).
    """
    return _CONTROLS.sub(lambda odd: odd[0].encode("unicode_escape").decode(), str(text))


def say(text: object, file: TextIO | None = None) -> None:
    """Print one line (to `sys.stdout` by default) as `printable` makes it."""
    print(printable(text), file=file)


def counted(number: int, word: str, plural: str = "") -> str:
    """Return `1 epoch`, `2 epochs`."""
    return f"{number} {word if number == 1 else plural or word + 's'}"


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Return text without its middle if it is longer than `longest` characters."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} … ({len(text) - 2 * half} characters left out) … {text[-half:]}"
