"""Where and in what precision inference may run. Imports nothing, for the sake of `--help`."""

from typing import Literal

__all__ = ["Device", "InferencePrecision"]

Device = Literal["auto", "cpu", "gpu"]
InferencePrecision = Literal["fp32", "fp16", "bf16"]
