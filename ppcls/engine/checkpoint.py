"""A run's state on disk: several files that are one checkpoint, whole at any instant.

`<prefix>.pdparams` are the weights, `.pdopt` the optimizer's accumulators under the parameters'
structured names, `.pdstates` where the run stands, and `.json` the manifest: the checksums of the
three. New files are written beside the old ones as `<prefix>.new.*`, the manifest is renamed into
place, and only then are the files. Until the manifest is there the old checkpoint is whole; from
then on the new one is, some of its files perhaps still under their new names.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppcls.arch.weights import read_pickle, save_weights
from ppcls.errors import WeightsError
from ppcls.files import replacing, sha256

__all__ = ["RunState", "checkpoint_weights", "load_checkpoint", "save_checkpoint"]

_SUFFIXES = (".pdparams", ".pdopt", ".pdstates")


@dataclass(frozen=True)
class RunState:
    """Where a run stands.

    Attributes:
        epoch: how many are complete.
        best_top1: of all evaluations; None where there was none.
        watched: what `ReduceOnPlateau` watches, of each evaluation after the warm-up.
    """

    epoch: int
    best_top1: float | None
    watched: tuple[float, ...] = ()


def _beside(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(prefix.name + suffix)


def _named(model: nn.Layer) -> Iterator[tuple[str, str]]:
    """Yield (Paddle's generated name, structured name) of the parameters, longest first.

    Generated names change when another model was built before, structured ones do not.
    """
    names = [(p.name, key) for key, p in model.named_parameters()]
    yield from sorted(names, key=lambda pair: -len(pair[0]))


def _optimizer_state(model: nn.Layer, optimizer: paddle.optimizer.Optimizer) -> dict[str, Any]:
    """Return the accumulators by structured name: `{"base.0.conv.weight": {"velocity_0": …}}`."""
    names = list(_named(model))
    state: dict[str, Any] = {}
    for key, value in optimizer.state_dict().items():
        if not isinstance(value, paddle.Tensor):
            continue
        generated, structured = next(pair for pair in names if key.startswith(f"{pair[0]}_"))
        state.setdefault(structured, {})[key[len(generated) + 1 :]] = value.numpy()
    return state


def save_checkpoint(
    prefix: Path, model: nn.Layer, optimizer: paddle.optimizer.Optimizer, state: RunState
) -> None:
    """Write a checkpoint; a kill at any instant leaves the earlier one or this one whole.

    Raises:
        RunError: the files cannot be written; the earlier checkpoint is as it was.
    """
    new = {suffix: _beside(prefix, f".new{suffix}") for suffix in _SUFFIXES}
    save_weights(model, new[".pdparams"])
    for suffix, content in (
        (".pdopt", _optimizer_state(model, optimizer)),
        (".pdstates", {"optimizer": type(optimizer).__name__} | asdict(state)),
    ):
        with replacing(new[suffix]) as file:
            file.write_bytes(pickle.dumps(content, protocol=4))
    manifest = {"sha256": {suffix: sha256(path) for suffix, path in new.items()}}
    with replacing(_beside(prefix, ".json")) as file:
        file.write_text(json.dumps(manifest, indent=1))
    for suffix, path in new.items():
        path.replace(_beside(prefix, suffix))


def _prefix(checkpoint: str | Path) -> Path:
    return Path(str(checkpoint).removesuffix(".pdparams"))


def _whole(prefix: Path) -> dict[str, Path]:
    """Return the files of a checkpoint, by suffix, after holding them against the manifest."""
    manifest = _beside(prefix, ".json")
    try:
        checksums = json.loads(manifest.read_text())["sha256"]
    except FileNotFoundError:
        raise WeightsError(
            f"{prefix}: no checkpoint to resume: there is no {manifest.name}; weights alone are a "
            "start for Global.pretrained_model"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{manifest}: cannot read the manifest: {error}") from None
    files = {}
    for suffix in _SUFFIXES:
        candidates = (_beside(prefix, suffix), _beside(prefix, f".new{suffix}"))
        found = [p for p in candidates if p.is_file() and sha256(p) == checksums.get(suffix)]
        if not found:
            raise WeightsError(f"{candidates[0]}: missing, or not the file that the run has saved")
        files[suffix] = found[0]
    return files


def load_checkpoint(
    checkpoint: str | Path, model: nn.Layer, optimizer: paddle.optimizer.Optimizer
) -> RunState:
    """Put model and optimizer where the run of a checkpoint left them.

    Args:
        checkpoint: its path without suffix, such as `output/x/HarDNet39_ds/latest`.
        model: with its weights loaded already (see `checkpoint_weights`).
        optimizer: over the model's parameters.

    Raises:
        WeightsError: there is no whole checkpoint, or it is of another optimizer.
    """
    files = _whole(_prefix(checkpoint))
    state = read_pickle(files[".pdstates"])
    was, now = state.pop("optimizer", None), type(optimizer).__name__
    if was != now:
        raise WeightsError(
            f"{files['.pdstates']}: of a run with the optimizer {was}, not {now}; to go on with "
            "another, start from its weights with Global.pretrained_model"
        )
    saved = read_pickle(files[".pdopt"])
    generated = {structured: name for name, structured in _named(model)}
    unknown = [key for key in saved if key not in generated]
    if unknown:
        raise WeightsError(f"{files['.pdopt']}: of another model: {unknown[0]} is not in this one")
    accumulated = {
        f"{generated[key]}_{name}": paddle.to_tensor(np.asarray(value))
        for key, accumulators in saved.items()
        for name, value in accumulators.items()
    }
    optimizer.set_state_dict(accumulated)
    return RunState(**state)


def checkpoint_weights(checkpoint: str | Path) -> Path:
    """Return the weights of a checkpoint.

    Raises:
        WeightsError: there is no whole checkpoint.
    """
    return _whole(_prefix(checkpoint))[".pdparams"]
