"""Stopping when asked to: SIGINT and SIGTERM let the running step end and be saved."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from ppcls.distributed import world_size
from ppcls.errors import Stopped

__all__ = ["Interrupted", "StopRequest"]

# The launcher of several processes sends SIGTERM three times within this time.
_SAME_REQUEST = 2.0


class Interrupted(BaseException):
    """A signal has arrived within `StopRequest.at_once`."""


class StopRequest:
    """Notes SIGINT and SIGTERM for as long as its context lasts; a second one ends at once.

    Outside the main thread Python delivers no signals: then nothing is noted.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._at = 0.0
        self._raises = False
        self._earlier: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._earlier[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def check(self, message: str) -> None:
        """End what is being done, between two of its steps, if a signal has asked for it.

        Raises:
            Stopped: it has; with this message.
        """
        if self.signal is not None:
            raise Stopped(message, 128 + self.signal)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal raise `Interrupted` where it arrives, for what can be begun anew.

        Of several processes none may leave the others alone: they end what they are doing first.
        """
        self._raises = world_size() == 1
        try:
            if self._raises and self.signal is not None:
                raise Interrupted
            yield
        finally:
            self._raises = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self._at = number, time.monotonic()
            if self._raises:
                self._raises = False
                raise Interrupted
        elif time.monotonic() - self._at > _SAME_REQUEST:
            # Without clean-up: whoever asks twice does not want to wait for it.
            os._exit(128 + number)
