"""The hardware: Paddle's device, the GPUs, the CPU and its cores."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np

from ppcls.errors import RunError
from ppcls.paddle_install import require_paddle

__all__ = [
    "core_count",
    "cpu_has_bf16",
    "cpu_name",
    "gpu_count",
    "seed_everything",
    "select_device",
]


def gpu_count() -> int:
    """Return how many GPUs the installed PaddlePaddle can use: 0 for a CPU build."""
    require_paddle()
    import paddle

    return paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0


def core_count() -> int:
    """Return how many CPU cores this process may use; respects a container's limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_fact(name: str) -> str:
    """Return a field of the first core in Linux's /proc/cpuinfo; an empty string elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    facts = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in facts if key.strip() == name), "")


def cpu_name() -> str:
    """Return the processor's name, as the system reports it."""
    return _cpu_fact("model name") or platform.processor() or platform.machine()


def cpu_has_bf16() -> bool:
    """Whether the processor computes in bfloat16; False if the system does not report it."""
    return bool({"avx512_bf16", "amx_bf16"} & set(_cpu_fact("flags").split()))


def select_device(name: str) -> str:
    """Set Paddle's current device: `auto`, `cpu`, `gpu` or another kind; return its kind.

    Raises:
        RunError: the device does not exist, or this Paddle cannot use it.
    """
    require_paddle()
    import paddle

    others = _other_devices()
    if name not in ("auto", "cpu", "gpu", *others):
        raise RunError(
            f"Global.device is {name}, which the installed PaddlePaddle {paddle.__version__} "
            f"cannot use; it can use {', '.join(_usable_devices(others))}"
        )
    if name in others:
        paddle.device.set_device(name)
        return name
    gpus = gpu_count()
    if name == "gpu" and not gpus:
        build = "finds none" if paddle.is_compiled_with_cuda() else "is the CPU build"
        raise RunError(
            f"Global.device is gpu, but the installed PaddlePaddle {paddle.__version__} {build}; "
            "use -o Global.device=cpu, or install a paddlepaddle-gpu that fits the driver"
        )
    device = "gpu" if gpus and name != "cpu" else "cpu"
    paddle.device.set_device(device)
    return device


def _other_devices() -> list[str]:
    """Return the device kinds other than CPU and GPU that this Paddle supports."""
    import paddle

    return ["xpu"] * paddle.is_compiled_with_xpu() + list(
        paddle.device.get_all_custom_device_type() or []
    )


def _usable_devices(others: list[str]) -> list[str]:
    return ["cpu", *["gpu"] * (gpu_count() > 0), *others]


def seed_everything(*entropy: int) -> None:
    """Seed Paddle's random generators (initialisation, dropout) from one or more numbers."""
    import paddle

    paddle.seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
