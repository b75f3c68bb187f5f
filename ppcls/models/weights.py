"""Weights as data: read files without running code, and load them only if they fit."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
import paddle
from paddle import Tensor, nn
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ppcls.errors import WeightsError
from ppcls.files import replacing
from ppcls.models.base import ImageClassifier
from ppcls.models.catalogue import ModelCard
from ppcls.models.download import fetch

__all__ = [
    "FORMATS",
    "load_weights",
    "locate_weights",
    "read_pickle",
    "read_weights",
    "save_weights",
    "write_weights",
]

# Paddle stores a map from structured to generated parameter names with the arrays.
_PADDLE_NAME_TABLE = "StructuredToParameterName@@"
FORMATS = (".pdparams", ".safetensors", ".npz")

_ADMITTED = {
    ("collections", "OrderedDict"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Admits arrays and plain values; refuses, by name, everything else that a pickle may call."""

    def __init__(self, file: IO[bytes], path: Path):
        # NumPy arrays in Python 2 pickles, the oldest checkpoints, need latin1.
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise WeightsError(
                f"{self._path}: refused: the file asks to run {module}.{name}, but weights are "
                "arrays only. Do not load it with other tools unless you trust its source"
            )
        return super().find_class(module, name)


def read_pickle(path: str | Path) -> Any:
    """Read a file that Paddle pickled (`.pdparams`, `.pdopt`, `.pdstates`), without running code.

    Returns:
        The file's contents: arrays, numbers, strings, and lists, tuples and maps of them.

    Raises:
        WeightsError: the file cannot be read, is damaged, or asks to run code, which is refused.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _ArrayUnpickler(file, path).load()
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights: {error.strerror or error}") from None
    except Exception:  # a damaged pickle can raise anything
        raise _damaged(path) from None


def _damaged(path: Path) -> WeightsError:
    size = f"{path.stat().st_size:,} bytes"
    return WeightsError(
        f"{path}: not a weights file, or damaged ({size}); copy or download it again"
    )


def _existing(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if path.is_file():
        return path
    with_suffix = path.with_name(path.name + ".pdparams")
    if with_suffix.is_file():
        return with_suffix
    if path.is_dir():
        inside = ", ".join(sorted(p.stem for p in path.glob("*.pdparams"))) or "no .pdparams"
        raise WeightsError(f"{path} is a folder, not a weights file; it holds: {inside}")
    raise WeightsError(f"no such weights: {path} (nor {with_suffix.name})")


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Read a state dict: names to arrays, with the shapes and dtypes of the file.

    Args:
        path: a `.pdparams` (with or without the suffix), `.safetensors` or `.npz` file.

    Raises:
        WeightsError: no such file, not a state dict, or a pickle that asks to run code.
    """
    path = _existing(path)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        if path.suffix == ".safetensors":
            return load_file(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights: {error.strerror or error}") from None
    except (SafetensorError, BadZipFile, ValueError, EOFError, KeyError, TypeError):
        raise _damaged(path) from None
    state = read_pickle(path)
    if isinstance(state, dict):
        state.pop(_PADDLE_NAME_TABLE, None)
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, np.ndarray) for k, v in state.items()
    ):
        raise WeightsError(f"{path}: expected a map of names to arrays, found something else")
    return state


def write_weights(state: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Write a state dict in the format of the path's suffix, as `read_weights` reads it.

    Arrays keep their shapes and dtypes. A failed write leaves no partial file. Paddle reads the
    `.pdparams` as its own.

    Raises:
        WeightsError: the suffix is none of `.pdparams`, `.safetensors` and `.npz`.
        RunError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise WeightsError(f"{path}: the suffix of a weights file must be {' or '.join(FORMATS)}")
    # Contiguous, because safetensors writes an array's memory and ignores its strides.
    arrays: dict[str, Any] = {key: np.ascontiguousarray(value) for key, value in state.items()}
    with replacing(path) as temporary, temporary.open("wb") as file:
        if path.suffix == ".pdparams":
            pickle.dump(arrays, file, protocol=4)
        elif path.suffix == ".safetensors":
            file.write(save(arrays))
        else:
            np.savez(file, **arrays)


def save_weights(model: nn.Layer, path: str | Path) -> None:
    """Write a model's parameters and buffers under their structured names (see `write_weights`)."""
    write_weights({key: value.numpy() for key, value in model.state_dict().items()}, path)


def locate_weights(card: ModelCard, pretrained: bool | str | Path) -> Path:
    """Return the weights file that a user names; published weights are fetched into the cache.

    Args:
        card: card of the architecture.
        pretrained: True for the published weights, the name of a variant of them (`ssld`), a URL,
            or a path.

    Raises:
        WeightsError: no such published weights, no such file, or the download failed.
    """
    if pretrained is True:
        return fetch(card.checkpoint("").url)
    text = str(pretrained)
    if text == "ssld" or text in {c.variant for c in card.checkpoints if c.variant}:
        return fetch(card.checkpoint(text).url)
    if text.startswith(("http://", "https://")):
        return fetch(text)
    return _existing(text)


def _names(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _adapt_stem(weight: np.ndarray, in_channels: int) -> np.ndarray:
    """Return a stem kernel (out, 3, kh, kw) for another number of input channels.

    One channel gets the sum of the three. More channels get them in turn, scaled to the same total,
    so that a gray or repeated image gives the same result as before.
    """
    if in_channels == 1:
        return weight.sum(axis=1, keepdims=True)
    turns = -(-in_channels // weight.shape[1])
    repeated = np.tile(weight, (1, turns, 1, 1))[:, :in_channels]
    return (repeated * (weight.shape[1] / in_channels)).astype(weight.dtype)


def _refuse_several_models(state: Mapping[str, Any], model: ImageClassifier, path: Path) -> None:
    """Raise for a file with all models of a distillation, and name the file of the kept model."""
    names = sorted({key.partition(".")[0] for key in state})
    own = model.state_dict()
    if len(names) < 2 or not any(all(f"{name}.{key}" in state for key in own) for name in names):
        return
    alone = path.with_name("best_model_student.pdparams")
    beside = f"; {alone} holds the model that was kept" if alone.is_file() else ""
    raise WeightsError(
        f"{path}: holds the models of a distillation, {' and '.join(names)}, not a single "
        f"{model.name}{beside}"
    )


def load_weights(
    model: ImageClassifier, path: str | Path, *, adapt: bool = False, strict: bool = True
) -> list[str]:
    """Load a weights file into a model; every key must exist with the same shape.

    Args:
        model: the model to fill.
        path: a file that `read_weights` reads.
        adapt: fit pretrained weights to a new task. If the number of classes differs, the
            classification layer is reinitialised; if the number of input channels differs, the stem
            is adapted.
        strict: False to load the weights that fit and leave the rest of the model unchanged.

    Returns:
        One line for the user about each weight that was adapted or not loaded.

    Raises:
        WeightsError: the file has another number of classes or input channels (and `adapt` is
            false), or belongs to another model (and `strict` is true); the message names the keys.
    """
    state = read_weights(path)
    if state and all(key.startswith("_layers.") for key in state):
        # Saved from within paddle.DataParallel.
        state = {key.removeprefix("_layers."): value for key, value in state.items()}
    _refuse_several_models(state, model, Path(path))
    other = [k for k, v in state.items() if v.dtype.kind != "f"]
    if other:
        raise WeightsError(
            f"{path}: {other[0]} is {state[other[0]].dtype}; expected a floating-point array"
        )
    own: dict[str, Tensor] = model.state_dict()
    notes = []

    stem, head = f"{model.first_conv}.weight", f"{model.head}.bias"
    if stem in state and stem in own and state[stem].ndim == 4:
        theirs, ours = state[stem].shape[1], own[stem].shape[1]
        if theirs == 3 and ours != 3 and adapt:
            state[stem] = _adapt_stem(state[stem], ours)
            notes.append(f"{path}: {stem} adapted from 3 input channels to {ours}")
    if head in state and head in own and state[head].shape != tuple(own[head].shape):
        theirs, ours = state[head].size, own[head].shape[0]
        if not adapt:
            raise WeightsError(
                f"{path}: these weights have {theirs} classes, but the model has {ours}; "
                f"set Arch.class_num={theirs} (-o Arch.class_num={theirs})"
            )
        for key in own:
            if key.startswith(f"{model.head}."):
                state[key] = own[key].numpy()
        notes.append(
            f"{path}: {theirs} classes in the file, {ours} in the model: {model.head} is untrained"
        )

    shapes = {key: tuple(value.shape) for key, value in own.items()}
    unfit = {
        "missing": [k for k in own if k not in state],
        "unexpected": [k for k in state if k not in own],
        "of another shape": [k for k in own if k in state and state[k].shape != shapes[k]],
    }
    if any(unfit.values()):
        found = "; ".join(f"{len(k)} {what} ({_names(k)})" for what, k in unfit.items() if k)
        if strict:
            raise WeightsError(
                f"{path}: made for another model than {model.name}: of {len(own)} keys, " + found
            )
        notes.append(f"{path}: not loaded: of {len(own)} keys, {found}")
    fitting = {k: v for k, v in state.items() if k in own and v.shape == shapes[k]}
    # All or nothing: a parameter that the file lacks is set to its own value.
    whole = {k: fitting[k] if k in fitting else v.numpy() for k, v in own.items()}
    model.set_state_dict({k: paddle.to_tensor(v.astype(np.float32)) for k, v in whole.items()})
    return notes
