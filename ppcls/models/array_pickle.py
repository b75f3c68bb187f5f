"""Read pickles of arrays and plain values: a small interpreter that can do nothing else.

Python's own unpickler calls what a file names, and takes memory that a file claims. This one knows
the few functions that NumPy's pickles call, and calls none that the file chooses the size of:
memory and time are bounded by the size of the file and by `MAX_OPCODES`.
"""

from __future__ import annotations

import codecs
import math
import os
import re
import struct
from pickletools import (
    TAKEN_FROM_ARGUMENT1,
    TAKEN_FROM_ARGUMENT4,
    TAKEN_FROM_ARGUMENT4U,
    TAKEN_FROM_ARGUMENT8U,
    UP_TO_NEWLINE,
    OpcodeInfo,
    opcodes,
)
from typing import IO, Any

import numpy as np

from ppcls.errors import WeightsError

__all__ = ["MAX_DEPTH", "MAX_OPCODES", "load_arrays"]

MAX_OPCODES = 1_000_000
"""A state dict needs about 25 for each array."""
MAX_DEPTH = 32
"""Nested lists, tuples and maps."""

_MAX_DIGITS = 600
_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in opcodes}
_LENGTH_BYTES = {
    TAKEN_FROM_ARGUMENT1: 1,
    TAKEN_FROM_ARGUMENT4: 4,
    TAKEN_FROM_ARGUMENT4U: 4,
    TAKEN_FROM_ARGUMENT8U: 8,
}
_SIMPLE_DTYPE = re.compile(r"[<>=|]?[biuf][0-9]{1,2}|[?]")
_PLAIN = (str, bytes, bytearray, bool, int, float, type(None), np.ndarray, np.generic)
_FUNCTIONS = {
    "collections.OrderedDict": "map",
    "numpy.dtype": "dtype",
    "numpy.ndarray": "class",
    "_codecs.encode": "encode",
    "builtins.bytes": "bytes",
    "__builtin__.bytes": "bytes",
    **{
        f"numpy.{core}.{name}": kind
        for core in ("core", "_core")
        for name, kind in (
            ("multiarray._reconstruct", "array"),
            ("multiarray.scalar", "scalar"),
            ("numeric._frombuffer", "buffer"),
        )
    },
}


class _Function:
    """A function that the file names; only the opcodes REDUCE and BUILD look inside."""

    def __init__(self, kind: str):
        self.kind = kind


def load_arrays(file: IO[bytes]) -> Any:
    """Return the contents of a pickle of any protocol: arrays and plain values.

    Args:
        file: a regular file, open for reading.

    Returns:
        Arrays, numbers, strings, and lists, tuples and maps (with keys that are strings) of them,
        nested at most `MAX_DEPTH` deep.

    Raises:
        WeightsError: the file asks for something else, or exceeds a bound; the message does not
            name the file.
        Exception: of any type, because the file is damaged or no pickle.
    """
    return _Interpreter(file).load()


class _Interpreter:
    def __init__(self, file: IO[bytes]):
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        # An array's bytes are in the file once, and once more where text encodes them.
        self._to_create = 2 * self._size
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        for _ in range(MAX_OPCODES):
            opcode = _OPCODES[self._bytes(1)]
            if opcode.name == "STOP":
                return self._plain(self._stack.pop())
            self._step(opcode)
        raise WeightsError(f"refused: more than {MAX_OPCODES:,} pickle opcodes")

    def _bytes(self, count: int) -> bytes:
        # Before the read, which takes the memory first.
        if not 0 <= count <= self._size - self._file.tell():
            raise EOFError
        return self._file.read(count)

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line[:-1]

    def _argument(self, opcode: OpcodeInfo) -> bytes:
        count = opcode.arg.n if opcode.arg else 0
        if count == UP_TO_NEWLINE:
            return self._line()
        if count < 0:
            count = int.from_bytes(self._bytes(_LENGTH_BYTES[count]), "little")
        return self._bytes(count)

    def _step(self, opcode: OpcodeInfo) -> None:
        stack = self._stack
        arg = self._argument(opcode)
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            # Values.
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "BININT1" | "BININT2":
                stack.append(int.from_bytes(arg, "little"))
            case "BININT" | "LONG1":
                stack.append(int.from_bytes(arg, "little", signed=True))
            case "INT" | "LONG":
                stack.append({b"00": False, b"01": True}.get(arg, _integer(arg)))
            case "BINFLOAT":
                stack.append(struct.unpack(">d", arg)[0])
            case "FLOAT":
                stack.append(float(arg))
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8":
                stack.append(arg.decode("utf-8", "surrogatepass"))
            case "UNICODE":
                stack.append(arg.decode("raw-unicode-escape"))
            case "BINSTRING" | "SHORT_BINSTRING":  # of Python 2
                stack.append(arg.decode("latin1"))
            case "STRING":
                stack.append(codecs.escape_decode(arg.strip()[1:-1])[0].decode("latin1"))  # type: ignore[attr-defined]
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8":
                stack.append(arg)
            case "BYTEARRAY8":
                stack.append(bytearray(arg))
            # Lists, tuples and maps.
            case "MARK":
                self._marks.append(len(stack))
            case "POP":
                stack.pop()
            case "POP_MARK":
                self._since_mark()
            case "EMPTY_LIST" | "EMPTY_TUPLE" | "EMPTY_DICT":
                stack.append({"L": list, "T": tuple, "D": dict}[opcode.name[6]]())
            case "LIST":
                stack.append(self._since_mark())
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "DICT":
                stack.append(_filled({}, self._since_mark()))
            case "APPEND":
                value = stack.pop()
                _checked(stack[-1], list).append(value)
            case "APPENDS":
                values = self._since_mark()
                _checked(stack[-1], list).extend(values)
            case "SETITEM":
                pair = [stack.pop(-2), stack.pop()]
                _filled(stack[-1], pair)
            case "SETITEMS":
                pairs = self._since_mark()
                _filled(stack[-1], pairs)
            # The memo.
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "PUT":
                self._memo[_integer(arg)] = stack[-1]
            case "BINPUT" | "LONG_BINPUT":
                self._memo[int.from_bytes(arg, "little")] = stack[-1]
            case "GET":
                stack.append(self._memo[_integer(arg)])
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[int.from_bytes(arg, "little")])
            # Functions.
            case "GLOBAL":
                stack.append(_named(arg.decode(), self._line().decode()))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_named(_checked(module, str), _checked(name, str)))
            case "REDUCE":
                values = stack.pop()
                stack[-1] = self._call(_checked(stack[-1], _Function).kind, *values)
            case "BUILD":
                state = stack.pop()
                self._build(stack[-1], state)
            case "INST":
                _named(arg.decode(), self._line().decode())
                raise ValueError
            case _:
                raise WeightsError(
                    f"refused: the pickle opcode {opcode.name}, which arrays do not need"
                )

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _create(self, count: int) -> None:
        """Count created bytes; a short file could otherwise copy a value of it any times."""
        self._to_create -= count
        if self._to_create < 0:
            raise WeightsError("refused: its arrays take more than twice the size of the file")

    def _call(self, kind: str, *args: Any) -> Any:
        match kind, args:
            case "map", ():
                return {}
            case "map", (list(pairs),):  # of Python 2
                self._create(8 * len(pairs))
                return _filled({}, [one for key, value in pairs for one in (key, value)])
            case "dtype", (str(name), *_):
                if not _SIMPLE_DTYPE.fullmatch(name):
                    raise WeightsError(f"refused: an array of dtype {name[:20]!r}, not of numbers")
                return np.dtype(name, copy=True)  # a copy, because BUILD sets its byte order
            case "encode", (str(text), "latin1" | "latin-1"):
                self._create(len(text))
                return text.encode("latin1")
            case "bytes", ():
                return b""
            case "array", (_Function(kind="class"), (0,), _):
                return np.ndarray(0, "u1")
            case "scalar", (np.dtype() as dtype, bytes() | str() as data):
                self._create(dtype.itemsize)
                return np.frombuffer(_raw(data), dtype, count=1)[0]
            case "buffer", (
                bytes() | bytearray() as data,
                np.dtype() as dtype,
                shape,
                order,
                *axes,
            ):
                self._create(len(data))
                flat = np.frombuffer(data, dtype)
                if order == "K" and axes:  # a transposed array
                    return flat.reshape(_checked(shape, tuple)).transpose(axes[0])
                return flat.reshape(_checked(shape, tuple), order=order)
        raise ValueError

    def _build(self, target: Any, state: Any) -> None:
        match target, state:
            case np.dtype(), (int(), "<" | ">" | "=" | "|" as order, None, None, None, *_):
                target.__setstate__((3, order, None, None, None, -1, -1, 0))  # type: ignore[attr-defined]
            case np.ndarray(), (int(), tuple(shape), np.dtype() as dtype, fortran, data):
                raw = _raw(data)
                if not all(type(n) is int and n >= 0 for n in shape):
                    raise ValueError
                if math.prod(shape) * dtype.itemsize != len(raw):
                    raise ValueError
                self._create(len(raw))
                target.__setstate__((1, shape, dtype, bool(fortran), raw))  # type: ignore[arg-type]
            case dict(), None | {}:
                pass
            case _:
                raise ValueError

    def _plain(self, value: Any) -> Any:
        """Return a value that is a tree of plain values, so that any code may walk through it.

        A list may otherwise contain itself, or a short file lists of lists with 2**100 ends.
        """
        left = 2 * MAX_OPCODES
        waiting = [(value, 0)]
        while waiting:
            one, depth = waiting.pop()
            if isinstance(one, (list, tuple, dict)):
                left -= len(one)
                if depth > MAX_DEPTH or left < 0:
                    raise WeightsError(
                        f"refused: values nested more than {MAX_DEPTH} deep, or endlessly"
                    )
                inner = one.values() if isinstance(one, dict) else one
                waiting += [(each, depth + 1) for each in inner]
            elif not isinstance(one, _PLAIN):
                raise ValueError
        return value


def _integer(text: bytes) -> int:
    if len(text) > _MAX_DIGITS:  # more take quadratic time, and cannot be printed
        raise ValueError
    return int(text.removesuffix(b"L"))


def _raw(data: Any) -> bytes:
    """Return an array's bytes; pickles of Python 2 hold them as text."""
    return data.encode("latin1") if isinstance(data, str) else bytes(_checked(data, bytes))


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _filled(target: Any, flat: list[Any]) -> dict[str, Any]:
    """Add keys and values, in turn, to a map. Only strings are safe to hash: tuples may nest."""
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        _checked(target, dict)[_checked(key, str)] = value
    return target  # type: ignore[no-any-return]


def _named(module: str, name: str) -> _Function:
    full = f"{module}.{name}"
    if full not in _FUNCTIONS:
        raise WeightsError(
            f"refused: the file asks to run {ascii(full[:100])[1:-1]}, but weights are arrays "
            "only. Do not load it with other tools unless you trust its source"
        )
    return _Function(_FUNCTIONS[full])
