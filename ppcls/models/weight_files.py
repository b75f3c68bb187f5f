"""Weights as data: read files without running code, and write them."""

from __future__ import annotations

import math
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
from numpy.lib.format import (
    read_array,
    read_array_header_1_0,
    read_array_header_2_0,
    read_magic,
    write_array,
)
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ppcls.errors import WeightsError
from ppcls.files import replacing
from ppcls.models.array_pickle import load_arrays

__all__ = ["FORMATS", "find_weights", "read_pickle", "read_weights", "write_weights"]

# Paddle stores a map from structured to generated parameter names with the arrays.
_PADDLE_NAME_TABLE = "StructuredToParameterName@@"
FORMATS = (".pdparams", ".safetensors", ".npz")
_ALWAYS_ALLOWED = 2**30
_MAX_RATIO = 16
_NPY_HEADERS = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
_KINDS = "biuf"
_SAFETENSORS_DTYPES = re.compile("F(64|32|16)|[IU](64|32|16|8)|BOOL")
_OTHER_FILES = {
    b"<!doctype html": "a web page, not weights; delete it and download the file itself",
    b"<html": "a web page, not weights; delete it and download the file itself",
    b"<?xml": "an XML document, not weights; delete it and download the file itself",
    b"pk\3\4": "a zip archive: rename it if it is an .npz; PyTorch's files must be converted",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file with `git lfs pull`",
}
"""What is often found in place of weights, by its first bytes in lower case."""


def read_pickle(path: str | Path) -> Any:
    """Read a file that Paddle pickled (`.pdparams`, `.pdopt`, `.pdstates`), without running code.

    Returns:
        The file's contents: arrays, numbers, strings, and lists, tuples and maps of them.

    Raises:
        WeightsError: the file cannot be read, is damaged, or asks to run code, which is refused.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # opening a FIFO would wait for a writer
            raise WeightsError(f"{path}: not a regular file")
        with path.open("rb") as file:
            return load_arrays(file)
    except WeightsError as error:
        raise WeightsError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    except Exception:  # a damaged pickle can raise anything
        raise _damaged(path) from None


def _unreadable(path: Path, error: Exception) -> WeightsError:
    reason = getattr(error, "strerror", None) or error
    return WeightsError(f"{path}: cannot read the weights: {reason}")


def _damaged(path: Path) -> WeightsError:
    try:
        with path.open("rb") as file:
            start = file.read(512).lstrip().lower()
        size = f"{path.stat().st_size:,} bytes"
    except (OSError, ValueError) as error:
        return _unreadable(path, error)
    for sign, what in _OTHER_FILES.items():
        if start.startswith(sign) and (sign[:2], path.suffix) != (b"pk", ".npz"):
            return WeightsError(f"{path}: {what} ({size})")
    return WeightsError(
        f"{path}: not a weights file, or damaged ({size}); delete it, and copy or download it again"
    )


def find_weights(path: str | Path) -> Path:
    """Return the path of a weights file, which the user may give without `.pdparams`.

    Raises:
        WeightsError: there is no such file, or it is not a regular file.
    """
    try:
        path = Path(path).expanduser()
        if path.is_file():
            return path
        with_suffix = Path(f"{path}.pdparams")
        if with_suffix.is_file():
            return with_suffix
        if path.is_dir():
            inside = ", ".join(sorted(p.stem for p in path.glob("*.pdparams"))[:10])
            raise WeightsError(
                f"{path} is a folder, not a weights file; it holds: {inside or 'no .pdparams'}"
            )
        if path.exists():
            raise WeightsError(f"{path}: not a regular file")
    except (OSError, RuntimeError) as error:  # RuntimeError: the home of a user that is unknown
        raise _unreadable(Path(path), error) from None
    raise WeightsError(f"no such weights: {path} (nor {with_suffix.name})")


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Read a state dict: names to arrays, with the shapes and dtypes of the file.

    The arrays take at most 1 GiB, or 16 times the size of the file, if that is more.

    Args:
        path: a `.pdparams` (with or without the suffix), `.safetensors` or `.npz` file.

    Raises:
        WeightsError: no such file, not a state dict, a dtype that NumPy lacks, arrays that exceed
            the bound, or a pickle that asks to run code.
    """
    path = find_weights(path)
    try:
        if path.suffix == ".npz":
            return _read_npz(path)
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
    except WeightsError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from None
    except Exception:  # archives and their headers can be damaged in any way, too
        raise _damaged(path) from None
    state = read_pickle(path)
    if isinstance(state, dict):
        state.pop(_PADDLE_NAME_TABLE, None)
    if not isinstance(state, dict) or not all(isinstance(v, np.ndarray) for v in state.values()):
        raise WeightsError(f"{path}: expected a map of names to arrays, found something else")
    # Several names may share an array.
    _refuse_too_large(path, sum(array.nbytes for array in state.values()))
    return state


def _refuse_too_large(path: Path, size: int) -> None:
    limit = max(_ALWAYS_ALLOWED, _MAX_RATIO * path.stat().st_size)
    if size > limit:
        raise WeightsError(
            f"{path}: refused: its arrays claim {size:,} bytes; a file of this size may hold at "
            f"most {limit:,}"
        )


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with ZipFile(path) as archive:
        members = archive.infolist()
        other = next((m.filename for m in members if not m.filename.endswith(".npy")), None)
        if other is not None:
            raise WeightsError(
                f"{path}: a zip archive with {other[:100]!r}, which is not an array of an .npz"
            )
        _refuse_too_large(path, sum(member.file_size for member in members))
        state = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as file:
                shape, _, dtype = _NPY_HEADERS[read_magic(file)](file)
                if dtype.kind not in _KINDS:
                    raise WeightsError(f"{path}: {name} is {dtype}; expected an array of numbers")
                # NumPy takes the memory that the header claims before it reads.
                if (
                    name in state
                    or math.prod(shape) * dtype.itemsize != member.file_size - file.tell()
                ):
                    raise ValueError
            with archive.open(member) as file:
                state[name] = read_array(file, allow_pickle=False)
    return state


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    with safe_open(path, "np") as file:
        keys = list(file.keys())
        for key in keys:
            dtype = file.get_slice(key).get_dtype()
            if not _SAFETENSORS_DTYPES.fullmatch(dtype):
                raise WeightsError(
                    f"{path}: {key[:100]!r} is {dtype}; expected F64, F32, F16 or integers; save "
                    "the weights as F32"
                )
        return {key: file.get_tensor(key) for key in keys}


def write_weights(state: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Write a state dict in the format of the path's suffix, as `read_weights` reads it.

    Arrays keep their shapes and dtypes. A failed write leaves no partial file. Paddle reads the
    `.pdparams` as its own.

    Raises:
        WeightsError: the suffix is none of `.pdparams`, `.safetensors` and `.npz`, or the format
            cannot store a name or dtype.
        RunError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise WeightsError(f"{path}: the suffix of a weights file must be {' or '.join(FORMATS)}")
    # Contiguous, because safetensors writes an array's memory and ignores its strides.
    arrays: dict[str, Any] = {key: np.ascontiguousarray(value) for key, value in state.items()}
    for key, value in arrays.items():
        if value.dtype.kind not in _KINDS or "\0" in key:
            raise WeightsError(f"{path}: cannot store {key[:100]!r}, which is {value.dtype}")
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            _WRITERS[path.suffix](arrays, file)
    except (ValueError, struct.error, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot write the weights: {error}") from None


def _write_pickle(arrays: dict[str, Any], file: IO[bytes]) -> None:
    pickle.dump(arrays, file, protocol=4)


def _write_safetensors(arrays: dict[str, Any], file: IO[bytes]) -> None:
    file.write(save(arrays))


def _write_npz(arrays: dict[str, Any], file: IO[bytes]) -> None:
    # Not np.savez, whose own arguments cannot be names of arrays.
    with ZipFile(file, "w") as archive:
        for key, value in arrays.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                write_array(member, value, allow_pickle=False)


_WRITERS = {".pdparams": _write_pickle, ".safetensors": _write_safetensors, ".npz": _write_npz}
