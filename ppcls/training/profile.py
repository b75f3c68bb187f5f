"""The profiler of training: `-p "batch_range=[10, 20]; profile_path=trace"`."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal

import paddle.profiler
from paddle.profiler import ProfilerTarget, SortedKeys
from pydantic import Field, ValidationError, field_validator

from ppcls.config.messages import explain
from ppcls.config.yaml_files import parse_yaml
from ppcls.errors import ConfigError
from ppcls.options import Natural, Options
from ppcls.printable import counted

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
_Sorted = Literal["total", "max", "min", "ave", "gpu_total", "gpu_max", "gpu_min", "gpu_ave"]


class ProfileOptions(Options):
    """What to profile.

    Attributes:
        batch_range: first step and the step after the last, counted from the start or the
            resumption of the run.
        profile_path: the folder for the trace.
        state: `CPU`, `GPU` or `All`.
        sorted_key: the sort key of the printed operator table.
        timer_only: measure only the speed of reading and computing, without a trace.
        exit_on_finished: end the run after the last profiled step.
    """

    batch_range: Annotated[list[Natural], Field(min_length=2, max_length=2)] = [
        10,
        20,
    ]
    profile_path: str = "profile"
    state: Literal["CPU", "GPU", "All"] = "All"
    sorted_key: _Sorted = "total"
    timer_only: bool = False
    exit_on_finished: bool = True

    @field_validator("batch_range")
    @classmethod
    def _ascends(cls, steps: list[int]) -> list[int]:
        if steps[0] >= steps[1]:
            raise ValueError(f"expected two ascending steps, such as [10, 20], not {steps}")
        return steps

    def check_length(self, steps: int) -> None:
        """Raise a `ConfigError` if a run of this many steps ends before the profile is complete."""
        if self.batch_range[1] > steps:
            raise ConfigError(
                f"-p batch_range={self.batch_range}: the run ends after {counted(steps, 'step')}; "
                "choose earlier steps, or train for longer (-o Global.epochs=N)"
            )

    @classmethod
    def parse(cls, text: str) -> ProfileOptions:
        """Parse options in PaddleClas's form: `key=value; key=value`.

        Raises:
            ConfigError: an unknown key or an invalid value.
        """
        parts = [part.strip() for part in text.split(";") if part.strip()]
        lines = "\n".join(part.replace("=", ": ", 1) for part in parts)
        data, origins = parse_yaml(lines, lambda line: f"-p {parts[min(line, len(parts)) - 1]}")
        try:
            return cls.model_validate(data or {})
        except ValidationError as error:
            raise explain(error, data, origins, f"-p {text}", cls) from None


class Profile:
    """Profiles some steps of a run and writes a trace for Chrome (`about:tracing`)."""

    def __init__(self, options: ProfileOptions):
        self.options = options
        self._steps = 0
        folder = Path(options.profile_path)
        gpu = paddle.device.get_device().startswith("gpu")
        targets = [t for t in _TARGETS[options.state] if gpu or t is not ProfilerTarget.GPU]
        if not targets:
            raise ConfigError("-p state=GPU: the device is a CPU; use state=CPU")
        self._profiler = paddle.profiler.Profiler(
            targets=targets,
            scheduler=(options.batch_range[0], options.batch_range[1]),
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
        """Count a step with this number of samples; return whether the run should end."""
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
