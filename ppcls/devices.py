"""What this machine computes with: GPUs that Paddle can use, CPU cores, and what the CPU is."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from ppcls.errors import require_paddle

__all__ = ["core_count", "cpu_has_bf16", "cpu_name", "gpu_count"]


def gpu_count() -> int:
    """Return how many GPUs the installed PaddlePaddle can use: 0 for a CPU build."""
    require_paddle()
    import paddle

    return paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0


def core_count() -> int:
    """Return how many CPU cores this process may use, which a container may limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_fact(name: str) -> str:
    """Return what Linux states of the first core; an empty text elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    facts = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in facts if key.strip() == name), "")


def cpu_name() -> str:
    """Return the processor's name, as the system states it."""
    return _cpu_fact("model name") or platform.processor() or platform.machine()


def cpu_has_bf16() -> bool:
    """Whether the processor computes in bfloat16; False where the system does not say."""
    return bool({"avx512_bf16", "amx_bf16"} & set(_cpu_fact("flags").split()))
