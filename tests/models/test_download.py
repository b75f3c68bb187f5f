"""Published weights come through a real HTTP server: once, whole, resumed, and checked."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import ppcls
from ppcls.config import load_config
from ppcls.errors import WeightsError
from ppcls.evaluation.evaluate import evaluate
from ppcls.models.download import cache_folder, fetch
from ppcls.models.weights import save_weights

CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Handler(BaseHTTPRequestHandler):
    """Serves the server's `content` with ranges; its `faults` say how the next answers go wrong."""

    def do_GET(self) -> None:
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        fault = server.faults.pop(0) if server.faults else None
        if isinstance(fault, int):
            self.send_error(fault)
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
        thread = threading.Thread(target=running.serve_forever)
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
    assert fetch(server.url, pauses=(0,)).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=1500000-"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(server: ThreadingHTTPServer) -> None:
    server.faults = ["break"]
    with pytest.raises(WeightsError, match="1500000 of 3000000 bytes arrived"):
        fetch(server.url, pauses=())
    server.tag = '"two"'
    assert fetch(server.url, pauses=()).read_bytes() == CONTENT


def test_trouble_of_the_server_is_retried_and_a_missing_file_is_not(
    server: ThreadingHTTPServer,
) -> None:
    server.faults = [503, 500]
    assert fetch(server.url, pauses=(0, 0)).read_bytes() == CONTENT
    assert len(server.requests) == 3
    server.faults = [404, 404]
    with pytest.raises(WeightsError, match="Not Found; without a network, put the file at"):
        fetch(server.url + "x", pauses=(0,))
    assert len(server.requests) == 4


def test_offline_the_error_says_where_to_put_the_file_and_it_is_then_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PPCLS_HOME", str(tmp_path))
    url = "http://127.0.0.1:9/model.pdparams"  # the discard port: nothing listens there
    with pytest.raises(WeightsError, match=r"cannot download http://127\.0\.0\.1:9/") as raised:
        fetch(url, pauses=())
    place = Path(str(raised.value).rpartition("put the file at ")[2])
    place.write_bytes(CONTENT)
    assert fetch(url, pauses=()) == place


def test_a_cached_file_that_changed_is_refused(server: ThreadingHTTPServer) -> None:
    path = fetch(server.url)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match="changed since it was downloaded"):
        fetch(server.url)


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
