"""Published weights come through a real HTTP server: once, whole, resumed, and checked."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

import numpy as np
import pytest

import ppcls
from ppcls.config import load_config
from ppcls.errors import WeightsError
from ppcls.evaluation.evaluate import evaluate
from ppcls.models.download import Limits, cache_folder, cache_path, fetch
from ppcls.models.weights import save_weights

CONTENT = pickle.dumps({"w": np.random.default_rng(0).random(750_000, np.float32)}, protocol=4)
HALF = len(CONTENT) // 2
ONCE = Limits(pauses=())
TWICE = Limits(pauses=(0,))


class Handler(BaseHTTPRequestHandler):
    """Serves the server's `content` with ranges; its `faults` say how the next answers go wrong."""

    def do_GET(self) -> None:
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        fault = server.faults.pop(0) if server.faults else None
        if isinstance(fault, int):
            self.send_error(fault)
            return
        if isinstance(fault, bytes):
            self.wfile.write(fault)
            return
        if callable(fault):
            with contextlib.suppress(OSError):  # the client hangs up
                fault(self.wfile)
            return
        first = 0
        wanted = self.headers.get("Range")
        if wanted and self.headers.get("If-Range") == server.tag:
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {first}-{last}/{last + 1}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(server.content) - first))
        self.send_header("ETag", server.tag)
        self.end_headers()
        body = server.content[first:]
        self.wfile.write(body[: len(body) // 2] if fault == "break" else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setenv("PPCLS_HOME", str(tmp_path / "cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.requests, running.faults, running.tag = [], [], '"one"'
        running.content = CONTENT
        running.url = f"http://127.0.0.1:{running.server_port}/zoo/a b.pdparams"
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_file_is_fetched_once_and_kept_under_its_name(server: ThreadingHTTPServer) -> None:
    path = fetch(server.url)
    assert path.read_bytes() == CONTENT
    assert path.parent == cache_folder() == Path(os.environ["PPCLS_HOME"]) / "weights"
    assert path.suffix == ".pdparams"
    assert fetch(server.url) == path
    assert server.requests == [("/zoo/a%20b.pdparams", None)]
    checksum = path.with_name(path.name + ".sha256").read_text().strip()
    assert checksum == hashlib.sha256(CONTENT).hexdigest()
    other = fetch(server.url.replace("zoo", "other"))
    assert other != path


def test_an_interrupted_download_goes_on(server: ThreadingHTTPServer) -> None:
    server.faults = ["break"]
    assert fetch(server.url, TWICE).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, f"bytes={HALF}-"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(server: ThreadingHTTPServer) -> None:
    server.faults = ["break"]
    with pytest.raises(WeightsError, match=f"{HALF} of {len(CONTENT)} bytes arrived"):
        fetch(server.url, ONCE)
    server.tag = '"two"'
    assert fetch(server.url, ONCE).read_bytes() == CONTENT


def test_trouble_of_the_server_is_retried_and_a_missing_file_is_not(
    server: ThreadingHTTPServer,
) -> None:
    server.faults = [503, 500]
    assert fetch(server.url, Limits(pauses=(0, 0))).read_bytes() == CONTENT
    assert len(server.requests) == 3
    server.faults = [404, 404]
    with pytest.raises(WeightsError, match="Not Found; without a network, put the file at"):
        fetch(server.url + "x", TWICE)
    assert len(server.requests) == 4


def test_offline_the_error_says_where_to_put_the_file_and_it_is_then_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PPCLS_HOME", str(tmp_path))
    url = "http://127.0.0.1:9/model.pdparams"  # the discard port: nothing listens there
    with pytest.raises(WeightsError, match=r"cannot download http://127\.0\.0\.1:9/") as raised:
        fetch(url, ONCE)
    place = Path(str(raised.value).rpartition("put the file at ")[2])
    place.write_bytes(CONTENT)
    assert fetch(url, ONCE) == place


def test_a_cached_file_that_changed_is_refused(server: ThreadingHTTPServer) -> None:
    path = fetch(server.url)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match="changed since it was downloaded"):
        fetch(server.url)


def ok(body: bytes, headers: str = "") -> bytes:
    """Return an answer without Content-Length, which ends where the connection does."""
    return b"HTTP/1.1 200 OK\r\n" + headers.encode() + b"\r\n" + body


def body_without_end(file: IO[bytes]) -> None:
    file.write(ok(b""))
    while True:
        file.write(bytes(1 << 16))


def trickle(start: bytes, part: bytes) -> Callable[[IO[bytes]], None]:
    def write(file: IO[bytes]) -> None:
        file.write(start)
        for _ in range(400):
            file.write(part)
            time.sleep(0.05)

    return write


def redirect(to: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (ok(b"<!DOCTYPE html><title>Sign in</title>"), "not kept: a web page, not weights"),
        (ok(b""), r"not kept: not a weights file, or damaged \(0 bytes\); check the URL"),
        (ok(b"", "Content-Length: 0\r\n"), r"not a weights file, or damaged \(0 bytes\)"),
        (ok(CONTENT[:HALF]), "not kept: not a weights file, or damaged"),
        (ok(pickle.dumps(os.system)), r"not kept: refused: the file asks to run posix\.system"),
        (ok(gzip.compress(CONTENT, 1)), "not kept: a gzip archive"),
        (ok(gzip.compress(CONTENT, 1), "Content-Encoding: gzip\r\n"), "gzip.*`curl --compressed`"),
        (ok(CONTENT, "Content-Length: many\r\n"), "Content-Length is 'many', not a number"),
        (ok(CONTENT, "Content-Length: -5\r\n"), "Content-Length is '-5', not a number"),
        (ok(b"", "Content-Length: 99999999999\r\n"), "99,999,999,999 bytes are more than"),
        (body_without_end, "more than the 9,000,000 bytes that are accepted"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "HTTP 204 is not an answer with a file"),
        (redirect("file:///etc/passwd"), "HTTP 302 Found: a redirect without end, or to no http"),
        (redirect("ftp://127.0.0.1/x"), "HTTP 302 Found: a redirect without end, or to no http"),
        (redirect("http://[/"), "Invalid IPv6 URL"),
        (b"HTTP/1.1 404 \x1b[31mred\r\n\r\n", "HTTP 404 Not Found"),
    ],
)
def test_an_answer_that_is_not_the_file_is_named_and_not_kept(
    server: ThreadingHTTPServer, answer: bytes | Callable[[IO[bytes]], None], message: str
) -> None:
    server.faults = [answer]
    with pytest.raises(WeightsError, match=message) as raised:
        fetch(server.url, Limits(pauses=(0,), most=9_000_000))
    assert str(cache_path(server.url)) in str(raised.value)
    assert len(server.requests) == 1
    assert fetch(server.url, ONCE).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200,
        b"HTTP/1.1 503 Busy\r\nRetry-After: soon\r\n\r\n",
        trickle(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        trickle(ok(b""), b"x"),
        trickle(ok(b"0\r\n", "Transfer-Encoding: chunked\r\n"), b"X: y\r\n"),
        trickle(ok(CONTENT[:HALF], 'ETag: "one"\r\n'), b""),
        trickle(redirect("/b"), b"x"),
    ],
)
def test_a_broken_or_slow_answer_ends_and_is_asked_for_again(
    server: ThreadingHTTPServer, answer: bytes | Callable[[IO[bytes]], None]
) -> None:
    server.faults = [answer]
    found = fetch(server.url, Limits(pauses=(0,) * 9, seconds=0.4, slow=1000))
    assert found.read_bytes() == CONTENT


def test_slowness_is_named(server: ThreadingHTTPServer) -> None:
    server.faults = [trickle(ok(b""), b"x")]
    with pytest.raises(WeightsError, match=r"fewer than 1,000 bytes arrived in 0\.3 seconds"):
        fetch(server.url, Limits(pauses=(), seconds=0.3, slow=1000))


@pytest.mark.parametrize(
    "headers",
    [
        f"Content-Range: bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}",
        f"Content-Range: bytes {HALF + 1}-{len(CONTENT) - 1}/{len(CONTENT)}",
        f"Content-Range: bytes {HALF}-{HALF + 5}/{len(CONTENT)}",
        f"Content-Range: bytes {HALF}-{len(CONTENT) - 1}/{len(CONTENT)}\r\nContent-Length: 7",
        f'Content-Range: bytes {HALF}-{len(CONTENT) - 1}/{len(CONTENT)}\r\nETag: "two"',
        "Content-Range: half of it",
        "X: y",
    ],
)
def test_a_rest_that_is_not_the_rest_is_not_appended(
    server: ThreadingHTTPServer, headers: str
) -> None:
    wrong = f"HTTP/1.1 206 Partial Content\r\n{headers}\r\n\r\n".encode() + CONTENT[HALF:]
    server.faults = ["break", wrong]
    with pytest.raises(WeightsError, match="the server resumed with "):
        fetch(server.url, TWICE)
    assert fetch(server.url, ONCE).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, f"bytes={HALF}-", None]


def test_files_beside_a_cached_one_are_checked(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    path = cache_path(server.url)
    part = path.with_name(f"{path.stem}.part.pdparams")
    path.parent.mkdir(parents=True)
    for odd in (b"\xff\xfe", b'"one"\r\nX: y', b"x" * 2000, b""):
        part.write_bytes(CONTENT[:HALF])
        part.with_name(part.name + ".etag").write_bytes(odd)
        assert fetch(server.url, ONCE).read_bytes() == CONTENT
        path.unlink()
    assert {wanted for _, wanted in server.requests} == {None}

    kept = tmp_path / "kept"
    kept.write_text("kept")
    checksum, lock = (path.with_name(path.name + suffix) for suffix in (".sha256", ".lock"))
    for file in (checksum, lock, part):
        file.unlink(missing_ok=True)
        file.symlink_to(kept)
        with pytest.raises(WeightsError, match=f"{file.name}: expected a regular file; delete it"):
            fetch(server.url, ONCE)
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(WeightsError, match=f"{file.name}: expected a regular file; delete it"):
            fetch(server.url, ONCE)
        file.unlink()
    assert kept.read_text() == "kept"

    fetch(server.url, ONCE)
    for odd in (b"\xff\xfe", b"", b"0" * 10_000):
        checksum.write_bytes(odd)
        with pytest.raises(WeightsError, match="not a SHA-256; delete it to accept"):
            fetch(server.url, ONCE)
    checksum.unlink()
    path.write_text("<html>")
    with pytest.raises(WeightsError, match="a web page, not weights; delete it"):
        fetch(server.url, ONCE)
    path.unlink()
    path.mkdir()
    with pytest.raises(WeightsError, match="expected a weights file; delete it"):
        fetch(server.url, ONCE)


@pytest.mark.parametrize(
    "url",
    ["http://", "http://[", "http://a:b/x", "file:///etc/passwd", "ftp://a/x", "http://a/\ud800"],
)
def test_what_is_no_url_is_named(url: str) -> None:
    with pytest.raises(WeightsError, match="is not an http or https URL"):
        fetch(url, ONCE)


@pytest.mark.parametrize(
    "rest", ["a\0b", "x" * 300, "..", "a b\n", "模型", "?a=b", ".." + "y" * 90]
)
def test_every_url_has_a_place_in_the_cache(server: ThreadingHTTPServer, rest: str) -> None:
    path = fetch(server.url.rpartition("/")[0] + "/" + rest, ONCE)
    assert path.parent == cache_folder()
    assert path.read_bytes() == CONTENT


def test_a_host_that_cannot_be_looked_up_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PPCLS_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"cannot download .*put the file at"):
        fetch(f"http://{'a' * 70}.invalid/w.pdparams", ONCE)
    (tmp_path / "file").touch()
    monkeypatch.setenv("PPCLS_HOME", str(tmp_path / "file"))
    with pytest.raises(
        WeightsError, match="file/weights: cannot write the weights: Not a directory"
    ):
        fetch("http://127.0.0.1:9/w.pdparams", ONCE)


@pytest.mark.process
def test_processes_of_one_machine_fetch_once(server: ThreadingHTTPServer) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        paths = pool.map(fetch, [server.url] * 3)
    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_model_takes_its_weights_from_a_url(
    server: ThreadingHTTPServer, tmp_path: Path, config_file: Path, overrides: list[str]
) -> None:
    model = ppcls.create_model("SqueezeNet1_1", class_num=3)
    save_weights(model, tmp_path / "w.pdparams")
    server.content = (tmp_path / "w.pdparams").read_bytes()
    for _ in range(2):
        other = ppcls.create_model("SqueezeNet1_1", class_num=3, pretrained=server.url)
        theirs, ours = other.state_dict(), model.state_dict()
        assert all((ours[k].numpy() == theirs[k].numpy()).all() for k in ours)
    assert len(server.requests) == 1
    for key in ("Global.pretrained_model", "Arch.pretrained"):
        config = load_config(config_file, [*overrides, f"{key}={server.url}"])
        assert evaluate(config).count == 9
    assert len(server.requests) == 1
