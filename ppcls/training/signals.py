"""Graceful stop: after SIGINT or SIGTERM a run completes its step and saves a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ppcls.distributed import world_size
from ppcls.errors import Stopped

__all__ = ["Interrupted", "StopRequest"]

# Paddle's launcher sends SIGTERM three times within this time.
_SAME_REQUEST = 2.0


class Interrupted(BaseException):
    """A signal arrived within `StopRequest.at_once`."""


class StopRequest:
    """Records SIGINT and SIGTERM within its context; a second signal ends the process at once.

    Outside the main thread Python delivers no signals, and nothing is recorded.
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

    def __exit__(self, *error: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        outer = getattr(self._earlier.get(self.signal or 0), "__self__", None)
        if error is None and self.signal is not None and isinstance(outer, StopRequest):
            outer._note(self.signal, None)  # too late for this work, but not for what surrounds it

    def check(self, message: str) -> None:
        """Stop between two steps if a signal has arrived.

        Raises:
            Stopped: a signal has arrived; with this message.
        """
        if self.signal is not None:
            raise Stopped(message, 128 + self.signal)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal raise `Interrupted` at once, for work that can be repeated.

        With several processes signals stay deferred, because no process may leave the others
        waiting.
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
            # No clean-up: after a second signal the user does not want to wait.
            os._exit(128 + number)
