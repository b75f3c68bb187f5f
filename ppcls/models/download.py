"""Download of published weights into a cache that all processes of a machine share."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    HTTPSConnection,
    InvalidURL,
    responses,
)
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import quote, urlsplit

from filelock import FileLock
from tqdm import tqdm

from ppcls.errors import WeightsError
from ppcls.files import cache_home, replacing, sha256
from ppcls.models.weight_files import read_weights

__all__ = ["Limits", "cache_folder", "cache_path", "fetch"]

_BLOCK = 1 << 20
_TIMEOUT = 30.0
_SCHEMES = ("http", "https")


@dataclass(frozen=True)
class Limits:
    """Limits of a download.

    Attributes:
        pauses: seconds to wait before each retry.
        seconds, slow: an attempt ends if fewer than `slow` bytes of the file arrive in any
            `seconds`, also while headers arrive; the next one resumes.
        most: number of bytes of the largest file to accept.
    """

    pauses: tuple[float, ...] = (1.0, 2.0, 4.0)
    seconds: float = 60.0
    slow: int = 60 * 1024
    most: int = 4 * 2**30


_LIMITS = Limits()


class _Refused(Exception):
    """An answer that a retry would not change."""


def cache_folder() -> Path:
    """Return the folder of weights: `$PPCLS_HOME/weights`, else `~/.cache/ppcls/weights`."""
    return cache_home() / "weights"


def cache_path(url: str) -> Path:
    """Return the cache path of a URL's file, which may not exist yet.

    Raises:
        WeightsError: the text is not an http or https URL.
    """
    try:
        key = hashlib.sha256(url.encode()).hexdigest()[:8]
        parts = urlsplit(url)
        is_url = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise WeightsError(f"{url!r} is not an http or https URL")
    # Two sites may both have a `model.pdparams`, so the name depends on the whole URL.
    name = Path(re.sub(r"[^\w./-]", "_", parts.path))
    return cache_folder() / f"{name.stem[:80]}-{key}{name.suffix[:20]}"


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _part_of(path: Path) -> Path:
    # The suffix of weights is their format, which is checked before the file gets its name.
    return path.with_name(f"{path.stem}.part{path.suffix}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in _SCHEMES:
            raise urllib.error.HTTPError(req.full_url, code, msg, headers, fp)
        fp.close()  # urllib reads the body, which may have no end
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Watch(Thread):
    """Breaks a connection that is too slow. A socket's own timeout starts again with every byte."""

    def __init__(self, limits: Limits):
        super().__init__(daemon=True)
        self.received = 0
        self.socket: socket.socket | None = None
        self.is_late = False
        self._limits = limits
        self._ended = Event()

    def run(self) -> None:
        before = 0
        while not self._ended.wait(self._limits.seconds):
            if self.socket and self.received - before < self._limits.slow:
                self.is_late = True
                with suppress(OSError):
                    self.socket.shutdown(socket.SHUT_RDWR)
                return
            before = self.received

    def __enter__(self) -> _Watch:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        if self.is_late:  # whatever the broken connection looks like: an error, or the file's end
            raise TimeoutError(
                f"fewer than {self._limits.slow:,} bytes arrived in {self._limits.seconds:g} "
                "seconds"
            ) from None


def _opener(watch: _Watch) -> urllib.request.OpenerDirector:
    class Connection(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            watch.socket = self.sock

    class SecureConnection(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            watch.socket = self.sock

    class Http(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> HTTPResponse:
            return self.do_open(Connection, req)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> HTTPResponse:
            return self.do_open(SecureConnection, req)

    return urllib.request.build_opener(_Redirects, Http, Https)


def _validator(headers: Message) -> str:
    """Return an identifier of the file's version: a strong ETag, or its date."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _read_tag(file: Path) -> str:
    """Return the version of a partial file; empty if it is unknown, so that it starts again."""
    if not file.is_file() or file.stat().st_size > 1000:
        return ""
    tag = file.read_bytes().decode("latin1")
    return tag if tag.isascii() and tag.isprintable() else ""


def _length(response: HTTPResponse) -> int | None:
    """Return the number of bytes that the answer announces."""
    text = response.headers.get("Content-Length")
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,15}", text.strip()):
        raise _Refused(f"the server's Content-Length is {text[:40]!r}, not a number of bytes")
    return int(text)


def _total(response: HTTPResponse, done: int, tag: str) -> int | None:
    """Return the size of the whole file; None if the server does not tell.

    Raises:
        ConnectionError: the answer does not continue the `done` bytes of the version `tag`.
        _Refused: the answer is not the file's bytes.
    """
    headers = response.headers
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        raise _Refused(
            f"the server compresses its answer (Content-Encoding {encoding[:40]!r}), which "
            "`curl --compressed` decodes"
        )
    length = _length(response)
    if response.status == 200:
        return length
    if response.status != 206:
        raise _Refused(f"HTTP {response.status} is not an answer with a file")
    given = headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})", given.strip())
    first, last, total = (int(number) for number in found.groups()) if found else (-1, -1, -1)
    continues = tag and first == done <= last == total - 1 and length in (None, total - done)
    if not continues or _validator(headers) not in ("", tag):
        raise ConnectionError(
            f"the server resumed with {given[:60]!r}, not with the rest from byte {done} of the "
            "same file"
        )
    return total


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    """Yield the bytes of an answer as they arrive; ConnectionError if the connection breaks."""
    while True:
        try:
            block = response.read1(_BLOCK)
        except OSError as error:  # which a full disk is, too
            raise ConnectionError(str(error)) from None
        if not block:
            return
        yield block


def _open(request: urllib.request.Request, watch: _Watch) -> HTTPResponse:
    try:
        return _opener(watch).open(request, timeout=_TIMEOUT)  # type: ignore[no-any-return]
    except urllib.error.URLError:
        raise
    except OSError as error:
        raise ConnectionError(str(error)) from None


def _download(url: str, part: Path, limits: Limits, watch: _Watch) -> None:
    """Fetch `url` into `part`, resuming after the bytes of an interrupted attempt."""
    tag_file = _beside(part, ".etag")
    done = part.stat().st_size if part.is_file() else 0
    tag = _read_tag(tag_file) if done else ""
    headers = {}
    if tag:
        # The server sends the rest if the file is unchanged, and otherwise the whole file.
        headers = {"Range": f"bytes={done}-", "If-Range": tag}
    request = urllib.request.Request(quote(url, safe=":/?&=%+@,;~[]"), headers=headers)
    try:
        response = _open(request, watch)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing left to send, or the file has changed: start again
            part.unlink(missing_ok=True)
        raise
    with response:
        try:
            total = _total(response, done, tag)
        except ConnectionError:
            part.unlink(missing_ok=True)
            raise
        if response.status == 200:
            done = 0
        if (total or 0) > limits.most:
            raise _Refused(f"{total:,} bytes are more than the {limits.most:,} that are accepted")
        with replacing(tag_file) as file:
            file.write_text(_validator(response.headers), encoding="latin1", errors="replace")
        with (
            part.open("ab" if done else "wb") as stream,
            tqdm(
                desc=part.stem, initial=done, total=total, unit="B", unit_scale=True, leave=False
            ) as bar,
        ):
            for block in _blocks(response):
                stream.write(block)
                bar.update(len(block))
                done += len(block)
                watch.received += len(block)
                if done > limits.most:
                    part.unlink()
                    raise _Refused(f"more than the {limits.most:,} bytes that are accepted")
                if done == total:
                    break
            stream.flush()
            os.fsync(stream.fileno())
    if total is not None and done != total:
        raise ConnectionError(f"{done} of {total} bytes arrived")
    tag_file.unlink()


def fetch(url: str, limits: Limits = _LIMITS) -> Path:
    """Return the cached weights file of a URL, and download it first if it is missing.

    Several processes share one download, an interrupted download resumes, and the file gets its
    name only when it is complete and `read_weights` can read it. The first download stores the
    checksum beside the file (`.sha256`); a file with another checksum is refused.

    Args:
        url: an http or https URL.
        limits: the limits of the download.

    Raises:
        WeightsError: not a URL, the download failed for good or is not a weights file, or the
            cached file has changed. The message names the URL and the path for a manual download.
        RunError: a file beside it cannot be written.
    """
    try:
        path = cache_path(url)
        checksum, lock, part = _beside(path, ".sha256"), _beside(path, ".lock"), _part_of(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        for file in (checksum, lock, part, _beside(part, ".etag")):
            if file.is_symlink() or (file.exists() and not file.is_file()):
                raise WeightsError(f"{file}: expected a regular file; delete it")
        if path.exists() and not path.is_file():
            raise WeightsError(f"{path}: expected a weights file; delete it")
        with FileLock(lock):
            if path.is_file():
                return _verified(path, checksum)
            _try_often(url, part, path, limits)
            _refuse_other_files(url, part, path)
            with replacing(checksum) as text:
                text.write_text(sha256(part) + "\n")
            part.replace(path)
    except OSError as error:
        raise WeightsError(
            f"{error.filename or path}: cannot write the weights: {error.strerror or error}"
        ) from None
    except RuntimeError as error:  # there is no home
        raise WeightsError(f"the cache of weights: {error}; set PPCLS_HOME") from None
    return path


def _verified(path: Path, checksum: Path) -> Path:
    found = sha256(path)
    if not checksum.is_file():
        # The user put it here, as the error of a failed download advises: store its checksum.
        read_weights(path)
        with replacing(checksum) as text:
            text.write_text(found + "\n")
        return path
    with checksum.open("rb") as file:
        stored = file.read(100).strip().decode("latin1")
    if not re.fullmatch("[0-9a-f]{64}", stored):
        raise WeightsError(
            f"{checksum}: not a SHA-256; delete it to accept {path.name} as it is, or both to "
            "fetch it again"
        )
    if stored != found:
        raise WeightsError(
            f"{path}: changed since it was downloaded (its checksum differs); delete it and "
            f"{checksum.name} to fetch it again"
        )
    return path


def _refuse_other_files(url: str, part: Path, path: Path) -> None:
    try:
        read_weights(part)
    except WeightsError as error:
        part.unlink()
        # Without the remedy, which is about a file that exists.
        found = str(error).removeprefix(f"{part}: ").partition(";")[0]
        raise WeightsError(
            f"{url}: what the server sent is not kept: {found}; check the URL, or put the file at "
            f"{path}"
        ) from None


def _is_final(error: Exception) -> bool:
    """Whether a retry would fail the same way."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code < 500 and error.code not in (408, 416, 429)
    reason = getattr(error, "reason", None)
    return isinstance(error, (_Refused, ValueError, InvalidURL)) or isinstance(
        reason, ssl.SSLCertVerificationError
    )


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        # Not the server's own words, which may hold anything.
        is_redirect = error.code in (301, 302, 303, 307, 308)
        return f"HTTP {error.code} {responses.get(error.code, '')}" + (
            ": a redirect without end, or to no http or https URL" if is_redirect else ""
        )
    return str(getattr(error, "reason", error)) or type(error).__name__


def _try_often(url: str, part: Path, path: Path, limits: Limits) -> None:
    for pause in (*limits.pauses, None):
        try:
            with _Watch(limits) as watch:
                return _download(url, part, limits, watch)
        except (
            urllib.error.URLError,
            HTTPException,
            ConnectionError,
            TimeoutError,
            ValueError,
            _Refused,
        ) as error:
            if pause is None or _is_final(error):
                raise WeightsError(
                    f"cannot download {url}: {_reason(error)}; without a network, put the file at "
                    f"{path}"
                ) from None
        time.sleep(pause)
