"""The complete state of a run, saved to and loaded from a checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppcls.checkpoints.files import Checkpoint
from ppcls.checkpoints.records import (
    Progress,
    PublishedStates,
    SamplesRecord,
    ScalerState,
    States,
    read_states,
)
from ppcls.errors import WeightsError
from ppcls.models.base import ImageClassifier
from ppcls.models.weight_files import read_pickle, read_weights
from ppcls.models.weights import finite, load_weights
from ppcls.training.ema import WeightAverage
from ppcls.training.precision import Precision

__all__ = ["TrainState"]

# Paddle writes a map from structured to generated parameter names beside the arrays.
_NAME_TABLE = "StructuredToParameterName@@"


Accumulators = dict[str, dict[str, np.ndarray]]
"""The state of an optimizer: by the structured name of a parameter, then by Paddle's name."""


def _generated(model: nn.Layer) -> Iterator[tuple[str, str]]:
    """Yield (Paddle's generated name, structured name) of the parameters, longest first.

    Generated names depend on the models built before; structured names do not.
    """
    names = [(p.name, key) for key, p in model.named_parameters()]
    yield from sorted(names, key=lambda pair: -len(pair[0]))


def _by_structured_name(state: Mapping[str, Any], names: list[tuple[str, str]]) -> Accumulators:
    """Turn `{"conv2d_0.w_0_velocity_0": …}` into `{"conv.weight": {"velocity_0": …}}`.

    Raises:
        KeyError: an accumulator belongs to no parameter.
    """
    found: Accumulators = {}
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

    Attributes:
        samples: a record of the data sets, by the section that names them.
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
        self.samples: dict[Any, SamplesRecord] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the contents of a checkpoint's files, by suffix; waits for the device."""
        raw = {key: value.numpy() for key, value in self.model.state_dict().items()}
        files: dict[str, Any] = {".pdparams": raw}
        if self.average:
            files[".pdparams"] = {k: v.numpy() for k, v in self.average.average.items()}
            files[".pdema"] = raw
        accumulators = self._accumulators()
        files[".pdopt"] = accumulators
        scaler = self.precision.state_dict()
        states = States(
            epoch=self.progress.epoch,
            metric=self.progress.best_metric,
            optimizer=type(self.optimizer).__name__,
            pdparams="averaged" if self.average else "raw",
            scaler=ScalerState(**scaler) if scaler else None,
            progress=self.progress,
            without_accumulators=[key for key in self._trained() if key not in accumulators],
            samples=self.samples,
        )
        files[".pdstates"] = states.model_dump()
        return files

    def _trained(self) -> dict[str, paddle.Tensor]:
        """Return the parameters that are not frozen, by structured name."""
        return {k: p for k, p in self.model.named_parameters() if not p.stop_gradient}

    def _accumulators(self) -> Accumulators:
        accumulators = {
            k: v
            for k, v in self.optimizer.state_dict().items()
            if isinstance(v, paddle.Tensor) or k == "master_weights"
        }
        return _by_structured_name(accumulators, list(_generated(self.model)))

    def load_model(self, checkpoint: Checkpoint, strict: bool) -> list[str]:
        """Load a checkpoint's weights; return the lines to show the user."""
        path = checkpoint.files.get(".pdema", checkpoint.files[".pdparams"])
        return load_weights(self.model, path, strict=strict)

    def load(self, checkpoint: Checkpoint) -> dict[Any, SamplesRecord]:
        """Restore optimizer, averages, scaler and progress from a checkpoint.

        Returns:
            The record of the data sets that the checkpoint was trained with, if it has one.

        Raises:
            WeightsError: the checkpoint has another model or optimizer, only one of checkpoint
                and run has averages, or a file lacks a key or holds a wrong value.
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
        samples: dict[Any, SamplesRecord] = {}
        unused: Collection[str] = ()
        if checkpoint.published:
            metric = None
            if ".pdstates" in files:
                metric = read_states(files[".pdstates"], PublishedStates).metric
            self.progress = Progress(epoch=checkpoint.epoch, best_metric=metric or None)
            accumulators = self._translated(checkpoint)
        else:
            states = self._own_states(checkpoint)
            self.progress = states.progress
            if states.scaler:
                self.precision.load_state_dict(states.scaler.model_dump())
            unused, samples = states.without_accumulators, states.samples
            for key in unused:
                if key not in self._trained():
                    raise WeightsError(
                        f"{files['.pdstates']}: without_accumulators: {key:.80} is not trained here"
                    )
            accumulators = _read_accumulators(files[".pdopt"])
        self._load_accumulators(accumulators, unused, files[".pdopt"])
        if self.average:
            self._load_average(files[".pdparams"])
        return samples

    def _own_states(self, checkpoint: Checkpoint) -> States:
        """Return the `.pdstates` of a checkpoint of ppcls, which fits its manifest and the run."""
        for suffix in (".pdopt", ".pdstates"):
            if suffix not in checkpoint.files:
                raise WeightsError(f"{checkpoint.prefix}{suffix}: the manifest does not list it")
        path = checkpoint.files[".pdstates"]
        states = read_states(path, States)
        for key in ("epoch", "step"):
            ours, listed = getattr(states.progress, key), getattr(checkpoint, key)
            if ours != listed:
                raise WeightsError(
                    f"{path}: progress.{key} is {ours}, but {listed} in {checkpoint.prefix}.json: "
                    "not the files of one checkpoint"
                )
        if (states.pdparams == "averaged") != (".pdema" in checkpoint.files):
            raise WeightsError(
                f"{path}: pdparams is {states.pdparams}, and the manifest lists "
                f"{'a' if '.pdema' in checkpoint.files else 'no'} .pdema: not the files of one "
                "checkpoint"
            )
        was, now = states.optimizer, type(self.optimizer).__name__
        if was != now:
            raise WeightsError(
                f"{path}: from a run with the optimizer {was}, not {now}; to use another, start a "
                "new run from its weights with Global.pretrained_model"
            )
        return states

    def _load_average(self, path: Path) -> None:
        assert self.average is not None
        arrays = read_weights(path)
        for key, average in self.average.average.items():
            if key not in arrays or list(arrays[key].shape) != average.shape:
                found = arrays[key].shape if key in arrays else "missing"
                raise WeightsError(
                    f"{path}: {key}: {found}; expected an averaged weight {tuple(average.shape)}"
                )
        self.average.load(finite(arrays, path))

    def _load_accumulators(self, saved: Accumulators, unused: Collection[str], path: Path) -> None:
        """Give the optimizer its accumulators; those of frozen parameters are not needed.

        Args:
            saved: the accumulators.
            unused: trained parameters that have none yet.
            path: the file that holds them.

        Raises:
            WeightsError: one is missing, has another shape, holds NaN, or belongs to another model
                or optimizer.
        """
        generated = {structured: name for name, structured in _generated(self.model)}
        for key in saved:
            if key not in generated:
                raise WeightsError(f"{path}: for another model: {key!s:.80} is not in this one")
        # Paddle makes them in the first step, and then trusts what it was given.
        block = paddle.static.default_main_program().global_block()
        self.optimizer._create_accumulators(block, list(self._trained().values()))
        expected = self._accumulators()
        masters = self.optimizer.state_dict().get("master_weights", {})
        kinds = {name for own in saved.values() for name in own}
        mine = {name for own in expected.values() for name in own}
        if kinds and kinds - {"master_weight"} != mine - {"master_weight"}:
            raise WeightsError(
                f"{path}: for another optimizer: it holds {', '.join(sorted(kinds))}; "
                f"{type(self.optimizer).__name__} needs {', '.join(sorted(mine)) or 'nothing'}"
            )
        state: dict[str, Any] = {}
        for key, accumulators in expected.items():
            for name, own in accumulators.items():
                missing = own if key in unused and key not in saved else None
                value = saved.get(key, {}).get(name, missing)
                if value is None:
                    raise WeightsError(
                        f"{path}: lacks {name} of {key}, which the run trains with "
                        f"{type(self.optimizer).__name__}; resume with the settings of the run, or "
                        "start a new one from the weights with Global.pretrained_model"
                    )
                problem = _unlike(value, own)
                if problem:
                    raise WeightsError(f"{path}: {name} of {key}: {problem}")
                tensor = paddle.to_tensor(value)
                if name == "master_weight":
                    # In place, because Paddle finds the accumulators by the name of this tensor.
                    masters[generated[key]].set_value(tensor)
                else:
                    state[f"{generated[key]}_{name}"] = tensor
        self.optimizer.set_state_dict(state)

    def _translated(self, checkpoint: Checkpoint) -> Accumulators:
        """Return the accumulators of a PaddleClas `.pdopt` by structured name.

        Its keys are Paddle's generated names, which the weights file maps to structured ones.
        """
        path = checkpoint.files[".pdopt"]
        weights = checkpoint.files.get(".pdema", checkpoint.files[".pdparams"])
        whole = read_pickle(weights)
        table = whole.get(_NAME_TABLE) if isinstance(whole, dict) else None
        if not isinstance(table, dict) or not table:
            raise WeightsError(
                f"{weights}: lacks the table of Paddle's parameter names that {path.name} "
                "needs; start a new run from the weights with Global.pretrained_model"
            )
        trained = {key for key, p in self.model.named_parameters()}
        names = [
            (str(generated), str(key).removeprefix("_layers."))
            for key, generated in table.items()
            if str(key).removeprefix("_layers.") in trained
        ]
        saved = read_pickle(path)
        masters = saved.get("master_weights") if isinstance(saved, dict) else None
        if not isinstance(saved, dict) or not isinstance(masters, dict | None):
            raise WeightsError(f"{path}: not the state of an optimizer")
        try:
            return _by_structured_name(
                {str(key): value for key, value in saved.items()},
                sorted(names, key=lambda pair: -len(pair[0])),
            )
        except KeyError as error:
            raise WeightsError(f"{path}: for another model: {error} is not in this one") from None


def _read_accumulators(path: Path) -> Accumulators:
    """Return the contents of a `.pdopt` of ppcls.

    Raises:
        WeightsError: it cannot be read, or holds something else.
    """
    found = read_pickle(path)
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: expected a map of parameters, found {type(found).__name__}")
    for key, accumulators in found.items():
        if not isinstance(accumulators, dict):
            kind = type(accumulators).__name__
            raise WeightsError(f"{path}: {key!s:.80}: expected a map of arrays, found {kind}")
        for name, value in accumulators.items():
            if not (isinstance(key, str) and isinstance(name, str)):
                raise WeightsError(f"{path}: {key!s:.80}: expected names of accumulators")
            if not isinstance(value, np.ndarray):
                kind = type(value).__name__
                raise WeightsError(f"{path}: {key:.80}: {name:.80}: expected an array, not {kind}")
    return found


def _unlike(found: np.ndarray, expected: np.ndarray) -> str:
    """Return how a saved accumulator differs from what the optimizer needs, or nothing."""
    if found.shape != expected.shape:
        return f"its shape is {found.shape}; expected {expected.shape}"
    if found.dtype != expected.dtype:
        return f"its type is {found.dtype}; expected {expected.dtype}"
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        return "it holds values that are not finite"
    return ""
