"""What a run writes about itself, as typed records; nothing else is read back from its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from ppcls.errors import PpclsError, WeightsError
from ppcls.files import read_regular
from ppcls.models.weight_files import read_pickle
from ppcls.options import Checksum, Options, Positive, first_problem

__all__ = [
    "Manifest",
    "MetricsLine",
    "Owner",
    "Progress",
    "PublishedStates",
    "SamplesRecord",
    "ScalerState",
    "Start",
    "States",
    "Sums",
    "read_manifest",
    "read_states",
    "record_of",
]

_LARGEST = 1 << 24
"""Bytes of a manifest or of `.pdstates`, which take a few thousand."""
_LONGEST_PROBLEM = 300

Number = Annotated[int, Field(ge=0, le=10**12)]
Text = Annotated[str, Field(max_length=4096)]
CheckpointName = Annotated[str, Field(pattern=r"^(best_model|epoch_[1-9][0-9]{0,11})$")]
Suffix = Literal[".pdparams", ".pdopt", ".pdstates", ".pdema"]
AnyRecord = TypeVar("AnyRecord", bound=Options)


class Manifest(Options):
    """`latest.json`: the progress, the checksums of the files, and their other names.

    Attributes:
        epoch: number of complete epochs.
        step: number of updates in the next epoch.
        names: other names of the same checkpoint in the same folder.
        sha256: the checksums of the other files, by suffix.
    """

    epoch: Number = 0
    step: Number = 0
    names: Annotated[list[CheckpointName], Field(max_length=8)] = []
    sha256: dict[Suffix, Checksum]


class Sums(Options):
    """The number of samples in an epoch so far, and the sums of the loss and the metrics."""

    count: Number
    sums: Annotated[list[float], Field(min_length=1, max_length=1000)]


# Without sums, checkpoints hold an empty map.
SumsOrNone = Annotated[
    Sums | None,
    BeforeValidator(lambda found: None if found == {} else found),
    PlainSerializer(lambda sums: {} if sums is None else sums.model_dump(), return_type=dict),
]


class Progress(Options):
    """The progress of a run; it changes while the run trains.

    Attributes:
        epoch: number of complete epochs, including their evaluation.
        step: number of updates done in the next epoch.
        totals: the sums of that epoch so far.
        best_metric: the best of all evaluations; None before the first.
        best_epoch: the epoch of the best evaluation.
        stale: number of evaluations since the best.
        watched: the values that the learning rate schedule watches, one for each evaluation after
            the warm-up.
        skipped: number of updates skipped because of non-finite values.
    """

    model_config = ConfigDict(frozen=False)

    epoch: Number = 0
    step: Number = 0
    totals: SumsOrNone = None
    best_metric: float | None = None
    best_epoch: Number = 0
    stale: Number = 0
    watched: list[Annotated[float, Field(allow_inf_nan=True)]] = []
    skipped: Number = 0

    def problem(self) -> str:
        """Return which of the numbers cannot be true together, or an empty string."""
        for key, found in (
            ("best_epoch", self.best_epoch),
            ("stale", self.stale),
            ("watched", len(self.watched)),
        ):
            if found > self.epoch:
                return f"progress.{key}: {found}, after {self.epoch} epochs"
        if self.step and self.totals is None:
            return f"progress.totals: missing, after {self.step} steps of an epoch"
        return ""


class ScalerState(Options):
    """The state of Paddle's `GradScaler`."""

    scale: Positive
    incr_ratio: Positive
    decr_ratio: Positive
    incr_every_n_steps: Number
    decr_every_n_nan_or_inf: Number
    incr_count: Number
    decr_count: Number
    use_dynamic_loss_scaling: bool


ScalerOrNone = Annotated[
    ScalerState | None,
    BeforeValidator(lambda found: None if found == {} else found),
    PlainSerializer(lambda state: {} if state is None else state.model_dump(), return_type=dict),
]


class SamplesRecord(Options):
    """The samples of a data set: how many there are, and a checksum of their names and labels."""

    count: Number
    sha256: Checksum


class States(Options):
    """`.pdstates`.

    Attributes:
        epoch, metric: as PaddleClas names them: complete epochs, and the best metric.
        optimizer: the name of Paddle's class.
        pdparams: whether `.pdparams` holds the averaged weights.
        scaler: the state of the scaler of mixed precision, if any.
        progress: the progress of the run.
        without_accumulators: the trained parameters for which `.pdopt` holds nothing, because no
            gradient has reached them yet.
        samples: the data sets by the section that names them; absent in older checkpoints.
    """

    epoch: Number
    metric: float | None
    optimizer: Text
    pdparams: Literal["averaged", "raw"]
    scaler: ScalerOrNone = None
    progress: Progress
    without_accumulators: list[Text] = []
    samples: dict[Literal["Train", "Eval"], SamplesRecord] = {}


class PublishedStates(Options):
    """`.pdstates` as PaddleClas writes it."""

    model_config = ConfigDict(extra="ignore", strict=False)

    epoch: Number
    metric: float | None = None


class Start(Options):
    """A line of `runs.jsonl`, as far as a resumed run compares it."""

    model_config = ConfigDict(extra="ignore")

    class PluginFile(Options):
        """A plug-in and the checksum of its file."""

        model_config = ConfigDict(extra="ignore")

        name: Text
        sha256: Checksum | None = None

    device: Text
    processes: Annotated[int, Field(ge=1, le=10**6)]
    plugins: list[PluginFile] = []


class MetricsLine(Options):
    """A line of `metrics.jsonl`; its other keys are the measured values."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=True)
    __pydantic_extra__: dict[str, float] = Field(init=False)

    kind: Literal["train", "eval"]
    epoch: Annotated[int, Field(ge=1, le=10**12)]
    step: Number | None = None
    lr: float | None = None
    loss: float

    @model_validator(mode="after")
    def _training_has_a_place(self) -> MetricsLine:
        if self.kind == "train" and (self.step is None or self.lr is None):
            raise ValueError("a record of training has step and lr")
        return self


class Owner(Options):
    """The content of `.lock`: which process holds it."""

    process: Number
    host: Annotated[str, Field(max_length=253)]
    since: Annotated[str, Field(max_length=40)]


def record_of(kind: type[AnyRecord], text: str | bytes) -> AnyRecord:
    """Return the record of a JSON text.

    Raises:
        ValueError: not JSON, or another record; the message is one line.
    """
    try:
        return kind.model_validate(json.loads(text))
    except ValidationError as error:
        raise ValueError(_problem(error)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _problem(error: ValidationError) -> str:
    return " ".join(first_problem(error).split())[:_LONGEST_PROBLEM]


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a checkpoint.

    Raises:
        WeightsError: it cannot be read, or is none.
    """
    try:
        return record_of(Manifest, read_regular(path, _LARGEST))
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the manifest: {error.strerror or error}") from None
    except ValueError as error:
        raise WeightsError(f"{path}: not the manifest of a checkpoint: {error}") from None


def read_states(path: Path, kind: type[AnyRecord]) -> AnyRecord:
    """Return the contents of a `.pdstates`, `States` or `PublishedStates`.

    Raises:
        WeightsError: it cannot be read, or holds something else; the message names the key.
    """
    _refuse_large(path)
    found: Any = read_pickle(path)
    try:
        states = kind.model_validate(found)
    except ValidationError as error:
        raise _unfit(path, _problem(error)) from None
    except RecursionError:
        raise _unfit(path, "nested too deeply") from None
    if isinstance(states, States):
        wrong = states.progress.problem()
        if states.epoch != states.progress.epoch:
            wrong = f"epoch: {states.epoch}, but progress.epoch is {states.progress.epoch}"
        if wrong:
            raise _unfit(path, wrong)
    return states


def _refuse_large(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from None
    if size > _LARGEST:
        raise _unfit(path, f"{size} bytes; expected at most {_LARGEST}")


def _unfit(path: Path, problem: str) -> PpclsError:
    return WeightsError(f"{path}: not the state of a run: {problem}")
