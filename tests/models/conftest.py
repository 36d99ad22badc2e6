"""No test of this folder leaves the machine, whatever it does; and helpers for them."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from models.wires import Wired

from loopwright.calls import Failure, Message, Reply, Request, Text, ToolSpec
from loopwright.models import forbid_real_calls


@pytest.fixture(autouse=True)
def _no_real_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor in ("ANTHROPIC", "OPENAI"):
        for name in ("API_KEY", "AUTH_TOKEN", "BASE_URL", "ADMIN_KEY"):
            monkeypatch.delenv(f"{vendor}_{name}", raising=False)
    forbid_real_calls()


@pytest.fixture(scope="session")
def weather() -> ToolSpec:
    """A tool as a model sees it."""
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return ToolSpec("weather", "Yesterday's weather.", city)


def _request(*messages: Message, timeout: float = 10.0, **more: Any) -> Request:
    said = messages or (Message("user", [Text("Hello")]),)
    return Request("a-model", said, timeout=timeout, **more)


@pytest.fixture(scope="session")
def request_of() -> Callable[..., Request]:
    """Makes a request: of "Hello" if of nothing else."""
    return _request


@pytest.fixture(params=["anthropic", "openai"])
def wire(request: pytest.FixtureRequest) -> str:
    """Each of the two wires."""
    return str(request.param)


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wired]:
    """Runs on all three wires, against one rehearsal."""
    with Wired(tmp_path_factory.mktemp("wired")) as wired:
        yield wired


class Server:
    """A transport that answers with what it is told, in pieces, and keeps what it was sent."""

    def __init__(self, *chunks: bytes, status: int = 200, **headers: str) -> None:
        self.chunks = chunks
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.seen: list[httpx2.Request] = []

    def provider(self, wire: str, **options: Any) -> Any:
        from loopwright.models import Chat, provider

        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))
        given = {"api_key": "k-123456", "base_url": "http://127.0.0.1:9", "http_client": http}
        if wire == "chat":
            return Chat("mine", **{**given, **options})
        return type(provider(wire))(**{**given, **options})

    def reply(self, wire: str, request: Request | None = None, **options: Any) -> Reply | Failure:
        return asyncio.run(self.provider(wire, **options).reply(request or _request()))

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        headers = {"content-type": "text/event-stream", **self.headers}
        return httpx2.Response(self.status, headers=headers, content=self._body())

    async def _body(self) -> Any:
        for chunk in self.chunks:
            yield chunk


@pytest.fixture(scope="session")
def server() -> type[Server]:
    """Makes a server of chunks of bytes."""
    return Server
