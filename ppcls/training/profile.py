"""The profiler switch of training: `-p "batch_range=[10, 20]; profile_path=trace"`."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType

import paddle.profiler
from paddle.profiler import ProfilerTarget, SortedKeys

from ppcls.errors import ConfigError, did_you_mean

__all__ = ["Profile", "ProfileOptions"]

_TARGETS = {
    "CPU": [ProfilerTarget.CPU],
    "GPU": [ProfilerTarget.GPU],
    "All": [ProfilerTarget.CPU, ProfilerTarget.GPU],
}
_SORTED = {
    "total": SortedKeys.CPUTotal,
    "max": SortedKeys.CPUMax,
    "min": SortedKeys.CPUMin,
    "ave": SortedKeys.CPUAvg,
    "gpu_total": SortedKeys.GPUTotal,
    "gpu_max": SortedKeys.GPUMax,
    "gpu_min": SortedKeys.GPUMin,
    "gpu_ave": SortedKeys.GPUAvg,
}
_YES = {"true": True, "false": False}


@dataclass(frozen=True)
class ProfileOptions:
    """What to profile.

    Attributes:
        batch_range: the first step and the one after the last, counted over the whole run.
        profile_path: the folder that the trace is written to.
        state: `CPU`, `GPU` or `All`.
        sorted_key: what the printed table of operators is sorted by.
        timer_only: measure the speed of reading and computing alone, without a trace.
        exit_on_finished: end the run after the last step.
    """

    batch_range: tuple[int, int] = (10, 20)
    profile_path: str = "profile"
    state: str = "All"
    sorted_key: str = "total"
    timer_only: bool = False
    exit_on_finished: bool = True

    @classmethod
    def parse(cls, text: str) -> ProfileOptions:
        """Read options written as published: `key=value; key=value`.

        Raises:
            ConfigError: an unknown key or an impossible value.
        """
        known = [field.name for field in fields(cls)]
        found: dict[str, object] = {}
        for part in filter(None, (part.strip() for part in text.split(";"))):
            key, equals, value = (piece.strip() for piece in part.partition("="))
            if key == "tracer_option":
                raise ConfigError(f"-p {part}: Paddle 3 has one tracer; leave the option out")
            if not equals or key not in known:
                raise ConfigError(
                    f"-p {part}: expected KEY=VALUE with one of the keys {', '.join(known)}"
                    f"{did_you_mean(key, known)}"
                )
            found[key] = _value(key, value)
        return cls(**found)  # type: ignore[arg-type]


def _value(key: str, text: str) -> object:
    choices = {"state": list(_TARGETS), "sorted_key": list(_SORTED)}
    allowed = choices.get(key, list(_YES))
    if key == "profile_path":
        return text
    if key == "batch_range":
        try:
            first, end = json.loads(text)
            if isinstance(first, int) and isinstance(end, int) and 0 <= first < end:
                return first, end
        except (ValueError, TypeError):
            pass
        raise ConfigError(f"-p {key}={text}: expected two steps, such as [10, 20]")
    text = text.lower() if allowed == list(_YES) else text
    if text not in allowed:
        raise ConfigError(
            f"-p {key}={text}: expected one of {', '.join(allowed)}{did_you_mean(text, allowed)}"
        )
    return _YES.get(text, text)


class Profile:
    """Profiles some steps of a run, and writes a trace that Chrome (`about:tracing`) shows."""

    def __init__(self, options: ProfileOptions):
        self.options = options
        self._steps = 0
        folder = Path(options.profile_path)
        gpu = paddle.device.get_device().startswith("gpu")
        targets = [t for t in _TARGETS[options.state] if gpu or t is not ProfilerTarget.GPU]
        if not targets:
            raise ConfigError("-p state=GPU: the device is a CPU; state=CPU is the one to use")
        self._profiler = paddle.profiler.Profiler(
            targets=targets,
            scheduler=options.batch_range,
            on_trace_ready=paddle.profiler.export_chrome_tracing(str(folder)),
            timer_only=options.timer_only,
        )

    def __enter__(self) -> Profile:
        self._profiler.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._profiler.stop()

    def step(self, samples: int) -> bool:
        """Count a step of so many samples; return whether the run is to end."""
        self._steps += 1
        self._profiler.step(num_samples=samples)
        if self._steps != self.options.batch_range[1]:
            return False
        if self.options.timer_only:
            print(self._profiler.step_info(unit="samples"))
        else:
            self._profiler.summary(sorted_by=_SORTED[self.options.sorted_key])
            print(f"trace    {self.options.profile_path}/")
        return self.options.exit_on_finished
