"""`Rehearsal`: a server on this machine that speaks Messages, Responses and Chat Completions.

With it the real SDKs are exercised without a key, and without anything leaving the machine.
``python -m loopwright.models.rehearsal`` serves the demonstration of `promotion`.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from loopwright.models import faults
from loopwright.models.promotion import Promotion
from loopwright.models.script import Block, CallTool, Response, Say
from loopwright.models.seen import SeenRequest
from loopwright.models.stage import Stage

if TYPE_CHECKING:
    from loopwright.models.anthropic import Anthropic
    from loopwright.models.chat import Chat
    from loopwright.models.openai import OpenAI

__all__ = ["Block", "CallTool", "Rehearsal", "Response", "Say", "SeenRequest", "faults"]

Step = str | Say | CallTool | Block | Response | Sequence[Any] | faults.Fault
Script = Sequence[Step] | Callable[[SeenRequest], Step]

_KEY = "rehearsal"

MODELS = ("claude-haiku-4-5", "claude-opus-5-5", "gpt-6-luna", "gpt-6-sol")
"""The models that a rehearsal says it has, where nobody says others."""


class Rehearsal:
    """Plays `script` to whoever asks, over HTTP on 127.0.0.1, while it is open.

    `script` is a list of steps, played in order, or a function of the `SeenRequest`; without one
    it is the demonstration. A step is a text or `Say`, a `CallTool`, a `Block`, a list of these for
    one reply, a whole `Response`, or one of `faults`; anything else is said as JSON. `port` 0 takes
    a free one. `models` are those that it lists; it answers for any.

    It answers streamed or at once, counts tokens and lists models, as both vendors do. Tokens are
    estimated, one for four characters. A prefix of at least 1024 tokens that it has read before is
    reported as read from the cache; Anthropic's has to be asked for. `url` is where it listens;
    `requests` are all that it saw, of which each one for an answer took a step. Once it is closed,
    connections are refused.

    >>> with Rehearsal(["Hello.", faults.overloaded()]) as rehearsal:
    ...     rehearsal.url.startswith("http://127.0.0.1:")
    True

    In a notebook, where no cell can hold a ``with``:

    >>> rehearsal = Rehearsal(["Hello."]).start()
    >>> rehearsal.stop()
    >>> rehearsal
    <Rehearsal, closed, 0 requests seen>
    """

    def __init__(
        self, script: Script | None = None, port: int = 0, models: Sequence[str] = MODELS
    ) -> None:
        self.requests: list[SeenRequest] = []
        self._script: Any = Promotion() if script is None else script
        self._asked = 0
        self._lock = Lock()
        self._stage = Stage(self._see, self._step, tuple(models), port)

    @property
    def url(self) -> str:
        """Where the server listens, without a path."""
        return f"http://127.0.0.1:{self._stage.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead the SDKs here."""
        return {
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": _KEY,
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": _KEY,
        }

    def anthropic(self, **client_options: Any) -> "Anthropic":
        """A provider that asks this server through Anthropic's SDK."""
        from loopwright.models.anthropic import Anthropic

        return Anthropic(**{"base_url": self.url, "api_key": _KEY, **client_options})

    def openai(self, **client_options: Any) -> "OpenAI":
        """A provider that asks this server through OpenAI's SDK."""
        from loopwright.models.openai import OpenAI

        return OpenAI(**{"base_url": f"{self.url}/v1", "api_key": _KEY, **client_options})

    def chat(self, name: str = "openai-chat", **options: Any) -> "Chat":
        """A provider that asks this server for Chat Completions, as it would ask the server `name`;
        `options` are those of `Chat`."""
        from loopwright.models.chat import Chat

        return Chat(name, **{"base_url": f"{self.url}/v1", "api_key": _KEY, **options})

    # -------------------------------------------------------------------------- open and closed

    def start(self) -> Self:
        """Open the server; ``with`` does it, too."""
        self._stage.open()
        return self

    def stop(self) -> None:
        """Close it, and every connection that is still open. It cannot be opened again."""
        self._stage.close()

    def join(self) -> None:
        """Wait until it is closed."""
        self._stage.stopping.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        where = "closed" if self._stage.stopping.is_set() else f"at {self.url}"
        return f"<Rehearsal, {where}, {len(self.requests)} requests seen>"

    # -------------------------------------------------------------------------------- the script

    def _see(self, request: SeenRequest) -> None:
        with self._lock:
            self.requests.append(request)

    def _step(self, request: SeenRequest) -> Any:
        with self._lock:
            if callable(self._script):
                return self._script(request)
            self._asked += 1
            if self._asked <= len(self._script):
                return self._script[self._asked - 1]
        said = f"the script has {len(self._script)} steps, this is request {self._asked}"
        return faults.bad_request(said)


def main() -> None:
    """Serve the demonstration until Ctrl-C, and say how to get there."""
    parser = argparse.ArgumentParser(prog="loopwright.models.rehearsal", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    port = parser.parse_args().port
    with suppress(KeyboardInterrupt), Rehearsal(port=port) as rehearsal:
        lines = rehearsal.environment
        for vendor in ("ANTHROPIC", "OPENAI"):
            pairs = [f"{name}={lines[name]}" for name in lines if name.startswith(vendor)]
            print("export", *pairs, flush=True)
        rehearsal.join()


if __name__ == "__main__":
    main()
