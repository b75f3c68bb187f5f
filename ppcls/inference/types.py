"""The devices and precisions of inference. It imports nothing, so `--help` stays fast."""

from typing import Literal

__all__ = ["Device", "InferencePrecision"]

Device = Literal["auto", "cpu", "gpu"]
InferencePrecision = Literal["fp32", "fp16", "bf16"]
