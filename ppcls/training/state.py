"""The complete state of a run, saved to and loaded from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppcls.checkpoints.files import Checkpoint
from ppcls.errors import WeightsError
from ppcls.models.base import ImageClassifier
from ppcls.models.weight_files import read_pickle, read_weights
from ppcls.models.weights import finite, load_weights
from ppcls.training.ema import WeightAverage
from ppcls.training.precision import Precision

__all__ = ["Progress", "TrainState"]

# Paddle writes a map from structured to generated parameter names beside the arrays.
_NAME_TABLE = "StructuredToParameterName@@"


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        epoch: number of complete epochs, including their evaluation.
        step: number of updates done in the next epoch.
        totals: the sums of that epoch so far (see `Totals`).
        best_metric: the best of all evaluations; None before the first.
        best_epoch: the epoch of the best evaluation.
        stale: number of evaluations since the best.
        watched: the values that the learning rate schedule watches, one for each evaluation after
            the warm-up.
        skipped: number of updates skipped because of non-finite values.
    """

    epoch: int = 0
    step: int = 0
    totals: dict[str, Any] = field(default_factory=dict)
    best_metric: float | None = None
    best_epoch: int = 0
    stale: int = 0
    watched: list[float] = field(default_factory=list)
    skipped: int = 0


def _generated(model: nn.Layer) -> Iterator[tuple[str, str]]:
    """Yield (Paddle's generated name, structured name) of the parameters, longest first.

    Generated names depend on the models built before; structured names do not.
    """
    names = [(p.name, key) for key, p in model.named_parameters()]
    yield from sorted(names, key=lambda pair: -len(pair[0]))


def _by_structured_name(
    state: dict[str, Any], names: list[tuple[str, str]]
) -> dict[str, dict[str, np.ndarray]]:
    """Turn `{"conv2d_0.w_0_velocity_0": …}` into `{"conv.weight": {"velocity_0": …}}`.

    Raises:
        KeyError: an accumulator belongs to no parameter.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    masters = state.get("master_weights") or {}
    for key, value in state.items():
        if key in ("master_weights", "LR_Scheduler", _NAME_TABLE):
            continue
        pair = next((pair for pair in names if key.startswith(f"{pair[0]}_")), None)
        if pair is None:
            raise KeyError(key)
        found.setdefault(pair[1], {})[key[len(pair[0]) + 1 :]] = np.asarray(value)
    structured = dict(names)
    for generated, value in masters.items():
        found.setdefault(structured[generated], {})["master_weight"] = np.asarray(value)
    return found


class TrainState:
    """A run's model, optimizer, averages, scaler and progress.

    `state_dict` returns all of it as the contents of a checkpoint's files; `load` restores it from
    a checkpoint.
    """

    def __init__(
        self,
        model: ImageClassifier,
        optimizer: paddle.optimizer.Optimizer,
        precision: Precision,
        average: WeightAverage | None,
    ):
        self.model = model
        self.optimizer = optimizer
        self.precision = precision
        self.average = average
        self.progress = Progress()

    def state_dict(self) -> dict[str, Any]:
        """Return the contents of a checkpoint's files, by suffix; waits for the device."""
        raw = {key: value.numpy() for key, value in self.model.state_dict().items()}
        files: dict[str, Any] = {".pdparams": raw}
        if self.average:
            files[".pdparams"] = {k: v.numpy() for k, v in self.average.average.items()}
            files[".pdema"] = raw
        accumulators = {
            k: v
            for k, v in self.optimizer.state_dict().items()
            if isinstance(v, paddle.Tensor) or k == "master_weights"
        }
        files[".pdopt"] = _by_structured_name(accumulators, list(_generated(self.model)))
        files[".pdstates"] = {
            # PaddleClas's names.
            "epoch": self.progress.epoch,
            "metric": self.progress.best_metric,
            "optimizer": type(self.optimizer).__name__,
            "pdparams": "averaged" if self.average else "raw",
            "scaler": self.precision.state_dict(),
            "progress": asdict(self.progress),
        }
        return files

    def load_model(self, checkpoint: Checkpoint, strict: bool) -> list[str]:
        """Load a checkpoint's weights; return the lines to show the user."""
        path = checkpoint.files.get(".pdema", checkpoint.files[".pdparams"])
        return load_weights(self.model, path, strict=strict)

    def load(self, checkpoint: Checkpoint) -> None:
        """Restore optimizer, averages, scaler and progress from a checkpoint.

        Raises:
            WeightsError: the checkpoint has another model or optimizer, or only one of checkpoint
                and run has averages.
        """
        files = checkpoint.files
        if self.average and ".pdema" not in files:
            raise WeightsError(
                f"{checkpoint.prefix}: from a run without averaged weights, but the configuration "
                "has the section EMA; leave it out (-o EMA=null), or start from the weights with "
                "Global.pretrained_model"
            )
        if not self.average and ".pdema" in files:
            raise WeightsError(
                f"{checkpoint.prefix}: from a run with averaged weights, but the configuration "
                "lacks the section EMA; add it (-o EMA.decay=0.9999)"
            )
        state = read_pickle(files[".pdstates"]) if ".pdstates" in files else {}
        if checkpoint.published:
            metric = state.get("metric")
            self.progress = Progress(
                epoch=checkpoint.epoch, best_metric=float(metric) if metric else None
            )
            accumulators = self._translated(checkpoint)
        else:
            was, now = state["optimizer"], type(self.optimizer).__name__
            if was != now:
                raise WeightsError(
                    f"{files['.pdstates']}: from a run with the optimizer {was}, not {now}; to use "
                    "another, start a new run from its weights with Global.pretrained_model"
                )
            self.progress = Progress(**state["progress"])
            self.precision.load_state_dict(state["scaler"])
            accumulators = read_pickle(files[".pdopt"])
        self._load_accumulators(accumulators, files[".pdopt"])
        if self.average:
            path = files[".pdparams"]
            self.average.load(finite(read_weights(path), path))

    def _load_accumulators(self, saved: dict[str, dict[str, np.ndarray]], path: Any) -> None:
        generated = {structured: name for name, structured in _generated(self.model)}
        unknown = [key for key in saved if key not in generated]
        if unknown:
            raise WeightsError(f"{path}: for another model: {unknown[0]} is not in this one")
        state: dict[str, Any] = {}
        for key, accumulators in saved.items():
            for name, value in accumulators.items():
                tensor = paddle.to_tensor(value)
                if name == "master_weight":
                    state.setdefault("master_weights", {})[generated[key]] = tensor
                else:
                    state[f"{generated[key]}_{name}"] = tensor
        self.optimizer.set_state_dict(state)

    def _translated(self, checkpoint: Checkpoint) -> dict[str, dict[str, np.ndarray]]:
        """Return the accumulators of a PaddleClas `.pdopt` by structured name.

        Its keys are Paddle's generated names, which the weights file maps to structured ones.
        """
        path = checkpoint.files[".pdopt"]
        weights = checkpoint.files.get(".pdema", checkpoint.files[".pdparams"])
        table = read_pickle(weights).get(_NAME_TABLE)
        if not table:
            raise WeightsError(
                f"{weights}: lacks the table of Paddle's parameter names that {path.name} "
                "needs; start a new run from the weights with Global.pretrained_model"
            )
        trained = {key for key, p in self.model.named_parameters()}
        names = [
            (generated, key.removeprefix("_layers."))
            for key, generated in table.items()
            if key.removeprefix("_layers.") in trained
        ]
        try:
            found = _by_structured_name(
                read_pickle(path), sorted(names, key=lambda pair: -len(pair[0]))
            )
        except KeyError as error:
            raise WeightsError(f"{path}: for another model: {error} is not in this one") from None
        kinds = {name for accumulators in found.values() for name in accumulators}
        mine = _accumulator_names(self.optimizer)
        if kinds - {"master_weight"} != mine:
            raise WeightsError(
                f"{path}: for another optimizer: it holds {', '.join(sorted(kinds)) or 'nothing'}; "
                f"{type(self.optimizer).__name__} needs {', '.join(sorted(mine)) or 'nothing'}"
            )
        return found


def _accumulator_names(optimizer: paddle.optimizer.Optimizer) -> set[str]:
    """Return Paddle's names of an optimizer's accumulators."""
    weight = paddle.create_parameter([1], "float32")
    twin = type(optimizer)(0.0, parameters=[weight])
    weight.sum().backward()
    twin.step()
    return {key[len(weight.name) + 1 :] for key in twin.state_dict() if key.startswith(weight.name)}
