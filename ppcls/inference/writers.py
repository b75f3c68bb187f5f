"""Answers written to files that are valid after every one of them, whatever happens next."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ppcls.errors import RunError
from ppcls.inference.results import Result

__all__ = ["WRITERS", "CsvWriter", "JsonLinesWriter", "JsonWriter", "Writer"]


class Writer(Protocol):
    """Writes answers to a file, one after the other."""

    path: Path
    count: int

    def write(self, result: Result) -> None:
        """Add an answer; `RunError` if the file system refuses, and then the file is as before."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class _Appending:
    """A file that always ends after a complete record.

    Every record goes out at once: what was answered before a crash has been written. A record that
    the disk has no room for is taken back.

    Attributes:
        path: the file; one that is there is replaced.
        count: records written.
    """

    opening = ""
    closing = ""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.count = 0
        try:
            self._file = self.path.open("wb", buffering=0)
        except OSError as error:
            raise RunError(f"{path}: cannot write: {error.strerror}") from None
        self._end = 0
        self._append(self.opening)

    def _append(self, text: str) -> None:
        """Put text before what closes the file."""
        data = (text + self.closing).encode()
        try:
            self._file.seek(self._end)
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            self._take_back()
            kept = f"; the {self.count} answers before it are in the file" if self.count else ""
            raise RunError(f"{self.path}: cannot write: {error.strerror}{kept}") from None
        except KeyboardInterrupt:
            self._take_back()
            raise
        self._end += len(text.encode())

    def _take_back(self) -> None:
        with suppress(OSError):  # a device keeps nothing that could be taken back
            os.ftruncate(self._file.fileno(), self._end)
            # It lies where the record that did not fit has begun, so there is room for it.
            self._file.seek(self._end)
            self._file.write(self.closing.encode() if self._end else b"")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class JsonLinesWriter(_Appending):
    """One JSON object a line: `filename class_ids scores label_names error`."""

    def write(self, result: Result) -> None:
        """Add an answer; `RunError` if the file system refuses, and then the file is as before."""
        self._append(json.dumps(result.to_dict(), ensure_ascii=False) + "\n")
        self.count += 1


class JsonWriter(_Appending):
    """One JSON list of the same objects."""

    opening = "["
    closing = "\n]\n"

    def write(self, result: Result) -> None:
        """Add an answer; `RunError` if the file system refuses, and then the file is as before."""
        comma = "," if self.count else ""
        self._append(f"{comma}\n{json.dumps(result.to_dict(), ensure_ascii=False)}")
        self.count += 1


class CsvWriter(_Appending):
    """A table with a line of headings; the lists in a field are JSON, so that they read back."""

    def write(self, result: Result) -> None:
        """Add an answer; `RunError` if the file system refuses, and then the file is as before."""
        record = result.to_dict()
        heading = self._line(list(record)) if not self.count else ""
        values = [
            json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
            for value in record.values()
        ]
        self._append(heading + self._line(values))
        self.count += 1

    @staticmethod
    def _line(values: Sequence[object]) -> str:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        return line.getvalue()


WRITERS: dict[str, type[JsonLinesWriter] | type[JsonWriter] | type[CsvWriter]] = {
    "json": JsonWriter,
    "jsonl": JsonLinesWriter,
    "csv": CsvWriter,
}
