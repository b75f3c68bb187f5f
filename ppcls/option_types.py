"""Types of values that several sections share."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import AfterValidator, Field

__all__ = ["Count", "Factor", "NotNegative", "PathText", "Rate", "Share"]

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0)]
Factor = Annotated[float, Field(gt=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]


def _expand(path: str) -> str:
    return os.path.expanduser(os.path.expandvars(path))


PathText = Annotated[str, AfterValidator(_expand)]
"""A path (or URL), with `~` and `$VARIABLE` replaced by what they stand for."""
