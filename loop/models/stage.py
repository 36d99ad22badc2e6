"""The HTTP server behind a `Rehearsal`: plays steps, and faults as they happen on real wires."""

import json
import socket
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from attrs import evolve, frozen

from loopwright.models import faults, wire
from loopwright.models.prompt_cache import PromptCache, count
from loopwright.models.script import Data, Played, Response
from loopwright.models.seen import SeenRequest, masked

_ASKED: Mapping[str, wire.Wire] = {
    "/messages": "anthropic",
    "/responses": "openai",
    "/chat/completions": "chat",
}
"""How the paths end under which a model is asked."""

_COUNTED: Mapping[str, wire.Wire] = {
    "/messages/count_tokens": "anthropic",
    "/responses/input_tokens": "openai",
}

_RESET = struct.pack("ii", 1, 0)
"""The option of a socket by which its closing resets the connection."""

_MEGABYTE = 2**20


class Stage(ThreadingHTTPServer):
    """Shows each request to `see`, asks `step` what to answer to those for an answer, and does it;
    `models` are the ones that it lists."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self,
        see: Callable[[SeenRequest], None],
        step: Callable[[SeenRequest], Any],
        models: Sequence[str],
        port: int,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Exchange)
        self.see = see
        self.step = step
        self.models = models
        self.cache = PromptCache()
        self.stopping = Event()
        self._thread: Thread | None = None
        self._open: set[socket.socket] = set()

    def open(self) -> None:
        """Begin to serve."""
        serve = self.serve_forever
        self._thread = Thread(target=serve, args=(0.02,), daemon=True, name="rehearsal")
        self._thread.start()

    def close(self) -> None:
        """Close the door, and every connection that is still open."""
        self.stopping.set()
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
        self.server_close()
        for connection in list(self._open):
            _end(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET)) == _RESET:
            self.close_request(request)  # a shutdown would end the connection in good order
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is nothing to report."""


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


@frozen
class _Turn:
    """What is answered: the response to a request."""

    seen: SeenRequest
    played: Played

    @property
    def data(self) -> list[Data]:
        """The events, or the body that comes at once."""
        seen, played = self.seen, self.played
        if seen.stream:
            return list(wire.events(seen.wire, played, seen.body))
        return [wire.answered(seen.wire, played)]

    def written(self, data: Sequence[Data]) -> bytes:
        """The same as bytes."""
        write = wire.sse if self.seen.stream else wire.dumped
        return b"".join(map(write, data))


class _Exchange(BaseHTTPRequestHandler):
    """One connection."""

    server: Stage  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed: `Rehearsal.requests` has it all."""

    # -------------------------------------------------------------------------- what is wanted

    def do_POST(self) -> None:
        path = self._path()
        body = _parsed(self.rfile.read(int(self.headers.get("content-length", 0))))
        if body is None:
            self._unknown(400)
        elif asked := _of(_ASKED, path):
            self._see(asked, body)
            self._play(self._step())
        elif counted := _of(_COUNTED, path):
            self._see(counted, body)
            self._json(200, wire.counted(counted, count(self.seen.chunks)), {})
        else:
            self._unknown(404)

    def do_GET(self) -> None:
        above, _, name = self._path().partition("/models")
        if not above.endswith("/v1") or name.count("/") > 1:
            self._unknown(404)
            return
        self._see("anthropic" if "anthropic-version" in self.headers else "openai", {})
        name = name.removeprefix("/")
        if name and name not in self.server.models:
            self._status(faults.no_such_model())
        elif name:
            self._json(200, wire.described(self.seen.wire, name), {})
        else:
            self._json(200, wire.listed(self.seen.wire, self.server.models), {})

    def _path(self) -> str:
        return self.path.partition("?")[0].rstrip("/")

    def _see(self, spoken: wire.Wire, body: Data) -> None:
        self.seen = SeenRequest(spoken, self.path, masked(dict(self.headers.items())), body)
        self.server.see(self.seen)

    def _step(self) -> Any:
        try:
            return self.server.step(self.seen)
        except Exception as error:
            said = f"the script raised {error!r}"
            return faults.Status(500, "api_error", "server_error", said)

    def _unknown(self, status: int) -> None:
        self._page(faults.Page(status, '{"error": {"message": "unknown"}}', "application/json"))

    # ------------------------------------------------------------------------- what is answered

    def _play(self, step: Any) -> None:
        match step:
            case faults.Status():
                self._status(step)
            case faults.Page():
                self._page(step)
            case faults.Pause(seconds, then, abruptly):
                self.server.stopping.wait(seconds)
                self._hang_up(abruptly) if then is None else self._play(then)
            case faults.Cut():
                self._cut(step)
            case faults.Stall():
                self._stall(step)
            case faults.Drip(seconds, then):
                self._drip(self._whole_answer(then), seconds)
            case faults.Broken():
                self._broken(step)
            case faults.Edited(then, change):
                turn = self._turn(then)
                self._answer(turn, list(change(turn.data)))
            case faults.Flood():
                self._flood(step)
            case _:
                turn = self._turn(step)
                self._answer(turn, turn.data)

    def _turn(self, step: Any) -> _Turn:
        response = step if isinstance(step, Response) else Response(step)
        response = evolve(response, tier=response.tier or self.seen.tier)
        model = f"{self.seen.wire} {self.seen.model}"
        read = self.server.cache.read(model, self.seen.chunks)
        return _Turn(self.seen, Played(response, self.seen.model, read))

    def _answer(self, turn: _Turn, data: Sequence[Data]) -> None:
        headers = turn.played.response.headers
        if self.seen.stream:
            self._stream((wire.sse(event) for event in data), headers)
        else:
            self._json(200, data[0], headers)

    def _whole_answer(self, step: Any) -> bytes:
        turn = self._turn(step)
        return turn.written(turn.data)

    # --------------------------------------------------------------------------- whole answers

    def _status(self, fault: faults.Status) -> None:
        kind = fault.anthropic if self.seen.wire == "anthropic" else fault.openai
        self._json(fault.status, wire.error(self.seen.wire, kind, fault.message), fault.headers)

    def _page(self, page: faults.Page) -> None:
        self._whole(page.status, page.body.encode(), page.kind, page.headers)

    def _json(self, status: int, body: Data, headers: Mapping[str, str]) -> None:
        self._whole(status, wire.dumped(body), "application/json", headers)

    def _whole(self, status: int, body: bytes, kind: str, headers: Mapping[str, str]) -> None:
        said = {"content-type": kind, "content-length": str(len(body)), **headers}
        self._begin(status, said)
        self.wfile.write(body)
        if int(said["content-length"]) > len(body):
            self._hang_up()

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        named = "request-id" if "anthropic-version" in self.headers else "x-request-id"
        for name, value in {named: wire.REQUEST_ID, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    # --------------------------------------------------------------------------------- streams

    def _stream(
        self, pieces: Iterable[bytes], headers: Mapping[str, str], ended: bool = True
    ) -> None:
        streaming = {"content-type": self._kind(), "transfer-encoding": "chunked"}
        self._begin(200, {**streaming, **headers})
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if ended:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _kind(self) -> str:
        return "text/event-stream" if self.seen.stream else "application/json"

    def _cut(self, fault: faults.Cut) -> None:
        beginning = self._whole_answer(fault.then)[: fault.after]
        self._stream([beginning] if beginning else [], {}, ended=fault.cleanly)
        if not fault.cleanly:
            self._hang_up(fault.reset)

    def _stall(self, fault: faults.Stall) -> None:
        beginning = self._turn(fault.then).data[: fault.after]

        def told() -> Iterator[bytes]:
            yield from map(wire.sse, beginning)
            self.wfile.flush()
            while not self.server.stopping.wait(fault.pings) and fault.pings is not None:
                yield wire.keep_alive(self.seen.wire)
                self.wfile.flush()

        self._stream(told(), {}, ended=False)

    def _broken(self, fault: faults.Broken) -> None:
        kind = fault.anthropic if self.seen.wire == "anthropic" else fault.openai
        told = wire.error(self.seen.wire, kind, fault.message, midway=self.seen.stream)
        if self.seen.stream:
            self._stream(map(wire.sse, [*self._turn(fault.then).data[:4], told]), {})
        else:
            self._json(200, told, {})

    def _drip(self, whole: bytes, seconds: float) -> None:
        def drops() -> Iterator[bytes]:
            for byte in whole:
                self.wfile.flush()
                if self.server.stopping.wait(seconds):
                    return
                yield bytes([byte])

        self._stream(drops(), {})

    def _flood(self, fault: faults.Flood) -> None:
        megabytes = _packed(fault.megabytes) if fault.packed else _plain(fault.megabytes)
        kind = {"content-type": self._kind(), "transfer-encoding": "chunked"}
        self._begin(fault.status, kind | ({"content-encoding": "gzip"} if fault.packed else {}))
        for piece in megabytes:
            if self.server.stopping.is_set():
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _hang_up(self, abruptly: bool = False) -> None:
        self.wfile.flush()
        self.close_connection = True
        if abruptly:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        else:
            _end(self.connection)


# --------------------------------------------------------------------------------- small pieces


def _of(paths: Mapping[str, wire.Wire], path: str) -> wire.Wire | None:
    return next((spoken for end, spoken in paths.items() if path.endswith(end)), None)


def _parsed(raw: bytes) -> Any:
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


_BEGINNING = b"data: "


def _plain(megabytes: int) -> Iterator[bytes]:
    """One event that does not end."""
    yield _BEGINNING
    for _ in range(megabytes):
        yield b" " * _MEGABYTE


def _packed(megabytes: int) -> Iterator[bytes]:
    """The same in gzip (RFC 1952): megabytes that say the same are the same bytes, packed once."""
    deflate, blank = zlib.compressobj(9, wbits=-zlib.MAX_WBITS), b" " * _MEGABYTE
    yield b"\x1f\x8b\x08" + bytes(7)
    yield deflate.compress(_BEGINNING) + deflate.flush(zlib.Z_FULL_FLUSH)
    packed = deflate.compress(blank) + deflate.flush(zlib.Z_FULL_FLUSH)
    checked = zlib.crc32(_BEGINNING)
    for _ in range(megabytes):
        checked = zlib.crc32(blank, checked)
        yield packed
    size = len(_BEGINNING) + megabytes * _MEGABYTE
    yield deflate.flush() + struct.pack("<II", checked, size % 2**32)
