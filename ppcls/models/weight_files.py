"""Weights as data: read files without running code, and write them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ppcls.errors import WeightsError
from ppcls.files import replacing

__all__ = ["FORMATS", "find_weights", "read_pickle", "read_weights", "write_weights"]

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


def find_weights(path: str | Path) -> Path:
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
    path = find_weights(path)
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
