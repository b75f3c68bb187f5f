"""Writers of results to files, one record at a time.

Each record is written at once, and removed again if the disk has no room for it. So JSON lines and
CSV files are always valid; a JSON list is valid when it is closed.
"""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ppcls.errors import RunError
from ppcls.inference.results import Result

__all__ = ["WRITERS", "CsvWriter", "JsonLinesWriter", "JsonWriter", "Writer"]


class Writer(ABC):
    """Writes results to a file, one after the other.

    Attributes:
        path: the file; an existing one is replaced.
        count: number of records written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.count = self._end = 0
        try:
            self._file = self.path.open("wb", buffering=0)
        except OSError as error:
            raise RunError(f"{path}: cannot write: {error.strerror}") from None

    @abstractmethod
    def _text(self, result: Result) -> str:
        """Return the text of a result."""

    def write(self, result: Result) -> None:
        """Add a result; if the file system refuses, raise `RunError` and restore the file."""
        self._append(self._text(result))
        self.count += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, text: str) -> None:
        # A file name that is not UTF-8 keeps its bytes as `\udce9`, which JSON reads back.
        data = text.encode(errors="backslashreplace")
        left = data
        try:
            while left:
                left = left[self._file.write(left) :]
        except BaseException as error:
            with suppress(OSError):  # a device cannot be truncated
                self._file.truncate(self._end)
                self._file.seek(self._end)
            if not isinstance(error, OSError):
                raise
            kept = f"; the file has the {self.count} results before it" if self.count else ""
            raise RunError(f"{self.path}: cannot write: {error.strerror}{kept}") from None
        self._end += len(data)


class JsonLinesWriter(Writer):
    """One JSON object a line: `filename class_ids scores label_names error`."""

    def _text(self, result: Result) -> str:
        return json.dumps(result.to_dict(), ensure_ascii=False) + "\n"


class JsonWriter(Writer):
    """One JSON list of the same objects."""

    def _text(self, result: Result) -> str:
        comma = "," if self.count else "["
        return f"{comma}\n{json.dumps(result.to_dict(), ensure_ascii=False)}"

    def close(self) -> None:
        """End the list and close the file; raise `RunError` if the file system refuses."""
        try:
            self._append("\n]\n" if self.count else "[]\n")
        finally:
            super().close()


class CsvWriter(Writer):
    """A table with a header line; lists in a field are JSON, so that they can be read back."""

    def _text(self, result: Result) -> str:
        record = result.to_dict()
        values = [
            json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
            for value in record.values()
        ]
        lines: Iterable[Iterable[object]] = [values] if self.count else [record, values]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        return text.getvalue()


WRITERS: dict[str, type[Writer]] = {
    "json": JsonWriter,
    "jsonl": JsonLinesWriter,
    "csv": CsvWriter,
}
