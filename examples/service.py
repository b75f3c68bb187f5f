"""An HTTP prediction service: post an image, get its classes as JSON.

    python examples/service.py output/fine_tuned/inference
    curl --data-binary @picture.jpg http://127.0.0.1:8000/predict
    curl http://127.0.0.1:8000/health

It needs only ppcls and Python's standard library. It is meant for a private network: put a web
server in front of it for encryption and passwords.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import ppcls

LARGEST = 20 * 2**20  # bytes of an image


class Handler(BaseHTTPRequestHandler):
    """Handles one request; `ThreadingHTTPServer` runs each in its own thread."""

    server: Service
    timeout = 30  # seconds: a stalled client must not block a thread forever

    def do_GET(self) -> None:
        """Report that the service is up, and its backend."""
        if self.path != "/health":
            return self.answer(HTTPStatus.NOT_FOUND, {"error": "ask for /health or /predict"})
        self.answer(HTTPStatus.OK, {"status": "ok", "runs_on": self.server.predictor.description})

    def do_POST(self) -> None:
        """Predict the image in the request's body."""
        if self.path != "/predict":
            return self.answer(HTTPStatus.NOT_FOUND, {"error": "send images to /predict"})
        try:
            length = int(self.headers["Content-Length"])
        except (TypeError, ValueError):
            return self.refuse(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing")
        if not 0 < length <= LARGEST:
            return self.refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send 1 to {LARGEST} bytes, not {length}"
            )
        # A predictor takes bytes, paths and arrays, from any number of threads. An unreadable
        # image gives a result with an error, not an exception.
        [result] = self.server.predictor.predict(self.rfile.read(length))
        if result.error:
            return self.answer(HTTPStatus.BAD_REQUEST, {"error": result.error})
        classes = [
            {"name": name, "id": id_, "score": round(score, 5)}
            for name, id_, score in zip(
                result.label_names, result.class_ids, result.scores, strict=True
            )
        ]
        self.answer(HTTPStatus.OK, {"classes": classes})

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        """Reject a request without reading its body, and close the connection."""
        self.close_connection = True
        self.answer(status, {"error": reason})

    def answer(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        """Send a JSON object."""
        data = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Service(ThreadingHTTPServer):
    """An HTTP server with one predictor for all requests, loaded once."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], predictor: ppcls.Predictor):
        super().__init__(address, Handler)
        self.predictor = predictor


def main(argv: Sequence[str] | None = None) -> None:
    """Run the example until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a folder written by `ppcls export`")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 serves other machines, too")
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args(argv)
    with (
        ppcls.Predictor(args.model) as predictor,
        Service((args.host, args.port), predictor) as service,
    ):
        print(f"http://{args.host}:{service.server_port}/predict, with {predictor.description}")
        try:
            service.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
