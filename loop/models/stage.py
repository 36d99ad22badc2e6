"""The HTTP server behind a `Rehearsal`: plays steps, and faults as they happen on real wires."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event
from typing import Any

from loopwright.models import faults, wire
from loopwright.models.seen import SeenRequest, masked
from loopwright.models.wire import Answer, CallTool, Data, Say

_PATHS: Mapping[str, wire.Wire] = {"messages": "anthropic", "responses": "openai"}


class Stage(ThreadingHTTPServer):
    """Asks `step` what to do with each request, and does it."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, step: Callable[[SeenRequest], Any], port: int) -> None:
        super().__init__(("127.0.0.1", port), _Exchange)
        self.step = step
        self.stopping = Event()
        self._open: set[socket.socket] = set()

    def stop(self) -> None:
        """Close the door, and every connection that is still open."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            _end(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is nothing to report."""


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class _Exchange(BaseHTTPRequestHandler):
    """One connection."""

    server: Stage  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed: `Rehearsal.requests` has it all."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        spoken = _PATHS.get(self.path.partition("?")[0].rstrip("/").rpartition("/")[2])
        body = _parsed(raw)
        if spoken is None or body is None:
            self._page(faults.Page(404 if body else 400, '{"error": {"message": "unknown"}}'))
            return
        self.seen = SeenRequest(spoken, self.path, masked(dict(self.headers.items())), body)
        self.size = len(raw)
        try:
            step = self.server.step(self.seen)
        except Exception as error:
            step = faults.Status(500, "api_error", "server_error", f"the script raised {error!r}")
        self._play(step)

    do_GET = do_POST

    def _play(self, step: Any) -> None:
        match step:
            case faults.Status():
                self._status(step)
            case faults.Page():
                self._page(step)
            case faults.Pause(seconds, then):
                self.server.stopping.wait(seconds)
                self._closed() if then is None else self._play(then)
            case faults.Cut(after, then, cleanly):
                self._cut(b"".join(self._events(then))[:after], cleanly)
            case faults.Broken():
                self._broken(step)
            case faults.Drip(seconds, then):
                self._drip(b"".join(self._events(then)), seconds)
            case _ if self.seen.stream:
                self._stream(self._events(step))
            case _:
                self._json(200, wire.answered(self.seen.wire, self._answer(step)), {})

    def _answer(self, step: Any) -> Answer:
        steps = step if isinstance(step, list | tuple) else [step]
        parts = [Say(part) if isinstance(part, str) else part for part in steps]
        if not all(isinstance(part, Say | CallTool) for part in parts):
            parts = [Say(json.dumps(step, default=str))]
        return Answer(parts, self.seen.model, self.size)

    def _events(self, step: Any) -> Iterator[bytes]:
        return wire.streamed(self.seen.wire, self._answer(step))

    # --------------------------------------------------------------------------- whole answers

    def _status(self, fault: faults.Status) -> None:
        kind = fault.anthropic if self.seen.wire == "anthropic" else fault.openai
        self._json(fault.status, wire.error(self.seen.wire, kind, fault.message), fault.headers)

    def _page(self, page: faults.Page) -> None:
        self._whole(page.status, page.body.encode(), page.kind, page.headers)

    def _json(self, status: int, body: Data, headers: Mapping[str, str]) -> None:
        self._whole(status, json.dumps(body).encode(), "application/json", headers)

    def _whole(self, status: int, body: bytes, kind: str, headers: Mapping[str, str]) -> None:
        self._begin(status, {"content-type": kind, "content-length": str(len(body)), **headers})
        self.wfile.write(body)

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"request-id": "req_rehearsal", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    # --------------------------------------------------------------------------------- streams

    def _stream(self, pieces: Iterator[bytes], ended: bool = True) -> None:
        streaming = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        self._begin(200, streaming)
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if ended:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _cut(self, beginning: bytes, cleanly: bool) -> None:
        self._stream(iter([beginning] if beginning else []), ended=cleanly)
        if not cleanly:
            self._closed()

    def _broken(self, fault: faults.Broken) -> None:
        kind = fault.anthropic if self.seen.wire == "anthropic" else fault.openai
        told = wire.sse(wire.error(self.seen.wire, kind, fault.message, midway=True))
        self._stream(iter([*list(self._events(fault.then))[:4], told]))

    def _drip(self, whole: bytes, seconds: float) -> None:
        def drops() -> Iterator[bytes]:
            for byte in whole:
                self.wfile.flush()
                if self.server.stopping.wait(seconds):
                    return
                yield bytes([byte])

        self._stream(drops())

    def _closed(self) -> None:
        self.close_connection = True
        _end(self.connection)


def _parsed(raw: bytes) -> Any:
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
