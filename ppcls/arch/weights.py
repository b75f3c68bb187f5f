"""Weights as data: reading them without running anything, and loading them without guessing."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np
import paddle
from paddle import Tensor

from ppcls.arch.layers import ImageClassifier
from ppcls.errors import WeightsError

__all__ = ["load_weights", "read_weights"]

# Paddle writes a map from structured to generated parameter names beside the arrays.
_PADDLE_NAME_TABLE = "StructuredToParameterName@@"

_ADMITTED = {
    ("collections", "OrderedDict"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Admits arrays and refuses, by name, everything else that a pickle could call."""

    def __init__(self, file: IO[bytes], path: Path):
        # latin1 is how NumPy's arrays of Python 2 pickles, the oldest checkpoints, are read.
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise WeightsError(
                f"{self._path}: refused: the file asks to run {module}.{name}, and weights are "
                "arrays alone. Do not load it with other tools before you know where it is from"
            )
        return super().find_class(module, name)


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Read a state dict: parameter and buffer names to arrays.

    Args:
        path: a `.pdparams` file (with or without the suffix) or an `.npz` file.

    Raises:
        WeightsError: no such file, not a state dict, or a pickle that would run code.
    """
    path = Path(path).expanduser()
    if not path.is_file() and path.with_name(path.name + ".pdparams").is_file():
        path = path.with_name(path.name + ".pdparams")
    if not path.is_file():
        raise WeightsError(f"no such weights: {path} (nor {path.name}.pdparams)")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                state = dict(arrays)
        else:
            with path.open("rb") as file:
                state = _ArrayUnpickler(file, path).load()
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights: {error.strerror or error}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise WeightsError(f"{path}: not a file of weights, or damaged: {error}") from None
    if isinstance(state, dict):
        state.pop(_PADDLE_NAME_TABLE, None)
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, np.ndarray) for k, v in state.items()
    ):
        raise WeightsError(f"{path}: expected a map of names to arrays, found something else")
    return state


def _names(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def load_weights(model: ImageClassifier, path: str | Path, *, new_head: bool = False) -> str | None:
    """Load a file of weights into a model; every key must be there with the same shape.

    Args:
        model: the model to fill.
        path: what `read_weights` reads.
        new_head: keep the model's own classification layer where the file's has another number
            of classes, as one wants to start training from.

    Returns:
        What was kept back, in one line to show the user; None when everything was loaded.

    Raises:
        WeightsError: the file holds another number of classes (and `new_head` is false), or
            weights of another model; the message has the keys.
    """
    state = read_weights(path)
    own: dict[str, Tensor] = model.state_dict()
    missing = [k for k in own if k not in state]
    unexpected = [k for k in state if k not in own]
    misshapen = [k for k in own if k in state and tuple(own[k].shape) != state[k].shape]
    head = [k for k in misshapen if k.startswith(f"{model.head}.")]
    if missing or unexpected or set(misshapen) != set(head):
        parts = [
            f"{len(keys)} {what} ({_names(keys)})"
            for what, keys in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", [k for k in misshapen if k not in head]),
            )
            if keys
        ]
        raise WeightsError(
            f"{path}: made for another model than {type(model).__name__}: of {len(own)} keys, "
            + "; ".join(parts)
        )
    note = None
    if head:
        bias = f"{model.head}.bias"
        theirs, ours = state[bias].shape[0], own[bias].shape[0]
        if not new_head:
            raise WeightsError(
                f"{path}: these weights know {theirs} classes, the model {ours}; "
                f"set Arch.class_num={theirs} (-o Arch.class_num={theirs})"
            )
        note = f"{path}: {theirs} classes there, {ours} here: {model.head} starts afresh"
        state |= {key: own[key].numpy() for key in head}
    model.set_state_dict({key: paddle.to_tensor(value) for key, value in state.items()})
    return note
