"""Download of published weights into a cache that all processes of a machine share."""

from __future__ import annotations

import hashlib
import os
import time
import urllib.error
import urllib.request
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote, urlsplit

from filelock import FileLock
from tqdm import tqdm

from ppcls.errors import WeightsError
from ppcls.files import cache_home, sha256

__all__ = ["cache_folder", "cache_path", "fetch"]

_BLOCK = 1 << 20
_TIMEOUT = 30.0
_PAUSES = (1.0, 2.0, 4.0)
"""Seconds to wait before each retry."""


def cache_folder() -> Path:
    """Return the folder of weights: `$PPCLS_HOME/weights`, else `~/.cache/ppcls/weights`."""
    return cache_home() / "weights"


def cache_path(url: str) -> Path:
    """Return the cache path of a URL's file, which may not exist yet."""
    # Two sites may both have a `model.pdparams`, so the name depends on the whole URL.
    name = Path(urlsplit(url).path)
    key = hashlib.sha256(url.encode()).hexdigest()[:8]
    return cache_folder() / f"{name.stem}-{key}{name.suffix}"


def _validator(headers: Message) -> str:
    """Return an identifier of the file's version: a strong ETag, or its date."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _download(url: str, part: Path) -> None:
    """Fetch `url` into `part`, resuming after the bytes of an interrupted attempt."""
    tag_file = part.with_name(part.name + ".etag")
    done = part.stat().st_size if part.is_file() else 0
    tag = tag_file.read_text() if done and tag_file.is_file() else ""
    headers = {}
    if tag:
        # The server sends the rest if the file is unchanged, and otherwise the whole file.
        headers = {"Range": f"bytes={done}-", "If-Range": tag}
    request = urllib.request.Request(quote(url, safe=":/?&=%+@,;~"), headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing left to send, or the file has changed: start again
            part.unlink()
        raise
    with response:
        resumed = response.status == 206
        done = done if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        tag_file.write_text(_validator(response.headers))
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(
                desc=part.stem, initial=done, total=total, unit="B", unit_scale=True, leave=False
            ) as bar,
        ):
            while block := response.read(_BLOCK):
                file.write(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())
    if total is not None and part.stat().st_size != total:
        raise ConnectionError(f"{part.stat().st_size} of {total} bytes arrived")
    tag_file.unlink()


def fetch(url: str, pauses: tuple[float, ...] = _PAUSES) -> Path:
    """Return the cached file of a URL, and download it first if it is missing.

    Several processes share one download, an interrupted download resumes, and the file gets its
    name only when it is complete. The first download stores the checksum beside the file
    (`.sha256`); a file with another checksum is refused.

    Args:
        url: an http or https URL.
        pauses: seconds to wait before each retry.

    Raises:
        WeightsError: the download failed for good, or the cached file has changed. The message
            names the URL and the path for a manual download.
    """
    path = cache_path(url)
    checksum = path.with_name(path.name + ".sha256")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if path.is_file():
                return _verified(path, checksum)
            part = path.with_name(path.name + ".part")
            _try_often(url, part, path, pauses)
            checksum.write_text(sha256(part) + "\n")
            part.replace(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot write the weights: {error.strerror or error}") from None
    return path


def _verified(path: Path, checksum: Path) -> Path:
    found = sha256(path)
    if not checksum.is_file():
        # The user put it here, as the error of a failed download advises: store its checksum.
        checksum.write_text(found + "\n")
    elif checksum.read_text().strip() != found:
        raise WeightsError(
            f"{path}: changed since it was downloaded (its checksum differs); delete it and "
            f"{checksum.name} to fetch it again"
        )
    return path


def _is_final(error: Exception) -> bool:
    """Whether a retry would fail the same way."""
    code = error.code if isinstance(error, urllib.error.HTTPError) else None
    return code is not None and 400 <= code < 500 and code not in (408, 416, 429)


def _try_often(url: str, part: Path, path: Path, pauses: tuple[float, ...]) -> None:
    for pause in (*pauses, None):
        try:
            return _download(url, part)
        except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
            if pause is None or _is_final(error):
                reason = getattr(error, "reason", error)
                raise WeightsError(
                    f"cannot download {url}: {reason}; without a network, put the file at {path}"
                ) from None
        time.sleep(pause)
