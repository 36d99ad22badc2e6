"""MCP: against two real servers from npm, one in this process, one over HTTP, and an odd one."""

import asyncio
import gzip
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import attrs
import psutil
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp_types import Tool, ToolAnnotations
from pydantic import BaseModel

from loopwright import BadInput, Loop, Run, Task
from loopwright.calls import Failure, Question, ToolCall, ToolResult
from loopwright.errors import Mismatch
from loopwright.events import Failed, Returned
from loopwright.models import Scripted
from loopwright.tools import mcp_asked, mcp_bounds, mcp_life, mcp_stdio, mcp_told
from loopwright.tools.mcp import McpTool, Progress, mcp_server

ODD = [sys.executable, str(Path(__file__).with_name("odd_server.py"))]
PINNED = {"server-everything": "2026.8.31", "server-filesystem": "2026.8.31"}


def call(tools: Sequence[McpTool], name: str, **arguments: Any) -> Any:
    """What the tool gives: the text for the model, or a failure."""
    (tool,) = [tool for tool in tools if tool.name == name]
    args, _ = tool.bind(arguments)
    return asyncio.run(tool.function(*args))  # type: ignore[arg-type]


def run(tools: Sequence[McpTool], *calls: ToolCall) -> Run:
    """A run whose model makes these calls one after the other."""
    return Loop(Scripted([*calls, "Done."])).run_now(Task("Use the tools.", tools=tools))


def outcomes(run: Run) -> list[Any]:
    """What came of the tool calls of a run."""
    results = [e.result for e in run.events if isinstance(e, Returned)]
    failures = [e.failure for e in run.events if isinstance(e, Failed)]
    return [r.content for r in results if isinstance(r, ToolResult)] + failures


def printed(script: str) -> str:
    """What the script prints, in a process that can be killed: no search goes on for ever there."""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout


def gone(pid: int) -> bool:
    """Whether the process ends; one that nobody has reaped yet has ended."""
    for _ in range(500):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


# --------------------------------------------------------------------------------- real servers


@pytest.fixture(scope="session")
def npm() -> Path:
    """The folder with the two servers, at the pinned versions, installed once for a machine."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    versions = "-".join(PINNED.values())
    home = Path(tempfile.gettempdir(), f"loopwright-npm-{os.getuid()}-{versions}")
    if not home.exists():
        with tempfile.TemporaryDirectory(prefix="loopwright-npm-") as folder:
            packages = [f"@modelcontextprotocol/{name}@{v}" for name, v in PINNED.items()]
            options = ["--ignore-scripts", "--no-audit", "--no-fund", "--cache", f"{folder}/cache"]
            command = ["npm", "install", *options, "--prefix", folder, *packages]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            except subprocess.TimeoutExpired:
                pytest.skip("npm did not install the servers in two minutes")
            if done.returncode:
                pytest.skip(f"npm cannot install the servers: {done.stderr[-300:]}")
            home.mkdir(mode=0o700)
            shutil.move(f"{folder}/node_modules", home)
    return home


@pytest.fixture(scope="session")
def command(npm: Path) -> Callable[..., list[str]]:
    def of(name: str, *arguments: str) -> list[str]:
        script = npm / "node_modules" / "@modelcontextprotocol" / name / "dist" / "index.js"
        return ["node", str(script), *arguments]

    return of


def test_the_server_everything(command: Callable[..., list[str]]) -> None:
    told: list[Progress] = []
    server = command("server-everything")
    with mcp_server(server, prefix="all_", trust=True, progress=told.append) as tools:
        effects = {tool.name: tool.effect for tool in tools}
        assert effects["all_echo"] == "read"
        assert effects["all_gzip-file-as-resource"] == "idempotent"
        assert effects["all_toggle-simulated-logging"] == "unsafe"
        assert "all_simulate-research-query" not in effects  # can only be called as a task
        assert call(tools, "all_echo", message="héllo") == "Echo: héllo"
        assert "[image image/png, 4033 bytes, not shown]" in call(tools, "all_get-tiny-image")
        assert '"conditions"' in call(tools, "all_get-structured-content", location="Chicago")
        assert "[link to demo://" in call(tools, "all_get-resource-links")
        long = {"duration": 0.04, "steps": 4}
        assert "completed" in call(tools, "all_trigger-long-running-operation", **long)
        assert [progress.done for progress in told] == [1, 2, 3, 4]
        assert {progress.total for progress in told} == {4}
        with pytest.raises(Mismatch) as error:
            call(tools, "all_get-sum", a="one", b=2)
        assert error.value.problems == ("a: 'one' is not of type 'number'",)


def test_the_server_everything_in_time_and_killed(command: Callable[..., list[str]]) -> None:
    def kill(progress: Progress) -> None:
        if killing:
            [child.kill() for child in psutil.Process().children() if "node" in child.cmdline()[0]]

    killing: list[bool] = []
    with mcp_server(command("server-everything"), timeout=0.5, progress=kill) as tools:
        long = ToolCall("1", "trigger-long-running-operation", {"duration": 60, "steps": 1200})
        done = run(tools, long, ToolCall("2", "echo", {"message": "still here"}))
        echoed, late = outcomes(done)
        assert (echoed, late.kind) == ("Echo: still here", "timeout")
        killing.append(True)
        failure = call(tools, long.name, **long.arguments)
        assert failure.kind == "connection"
        assert "outcome unknown; exit code -9" in failure.message
        assert call(tools, "echo", message="again") == "Echo: again"


def test_the_server_everything_asks_a_person(command: Callable[..., list[str]]) -> None:
    asked: list[Question] = []

    def ask(question: Question) -> str:
        asked.append(question)
        free = {"name": "Ada", "email": "ada@example.org", "integer": "42", "number": "7"}
        return (*question.choices, free.get(question.id.partition("-")[2], ""))[0]

    with mcp_server(command("server-everything"), ask=ask) as tools:
        said = call(tools, "trigger-elicitation-request")
    assert "- Name: Ada" in said
    assert "- Favorite Integer: 42" in said
    assert "Your full, legal name" in asked[0].text
    assert next(q for q in asked if q.id == "node-check").choices == ("yes", "no")


def test_the_server_filesystem(command: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    only = ["read_text_file", "write_file", "move_file"]
    with mcp_server(command("server-filesystem", str(tmp_path)), only=only, trust=True) as tools:
        assert {tool.name: tool.effect for tool in tools} == {
            "read_text_file": "read",
            "write_file": "idempotent",
            "move_file": "unsafe",
        }
        written, read, outside = (str(tmp_path / "b.txt"), str(tmp_path / "a.txt"), "/etc/passwd")
        done = run(
            tools,
            ToolCall("1", "write_file", {"path": written, "content": "three"}),
            ToolCall("2", "read_text_file", {"path": read}),
            ToolCall("3", "read_text_file", {"path": outside}),
            ToolCall("4", "read_text_file", {"path": 5}),
        )
        _, content, denied = outcomes(done)
    assert Path(written).read_text() == "three"
    assert content == "one\ntwo\n"
    assert denied.kind == "tool_error"
    assert "Access denied" in denied.message
    told = [b.content for m in done.messages for b in m.blocks if isinstance(b, ToolResult)]
    assert "path: 5 is not of type 'string'" in told[-1]
    assert done.output == "Done."


# ---------------------------------------------------------------------- of the SDK: here, and HTTP


class Size(BaseModel):
    size: int


def which_size() -> Elicit[Size]:
    return Elicit("Which size?", Size)


def shop() -> MCPServer:
    server = MCPServer("shop")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))
    async def price(article: str, context: Context[Any]) -> int:
        await context.report_progress(1, 2, "looking")
        if article == "nothing":
            raise ToolError("there is no such article")
        if article == "time":
            await asyncio.Event().wait()
        return 5

    @server.tool()
    async def order(article: str, size: Annotated[Size, Resolve(which_size)]) -> str:
        return f"{article} of size {size.size}"

    @server.tool()
    async def change(context: Context[Any]) -> str:
        server.remove_tool("price")
        await context.notify_tools_changed()
        return "changed"

    return server


@contextmanager
def over_http(server: MCPServer) -> Iterator[str]:
    """The server, at an address of this machine."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()  # who comes before the server is ready waits for it
    app = server.streamable_http_app()
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)
    serving = uvicorn.Server(config)
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        serving.should_exit = serving.force_exit = True
        thread.join()
        listening.close()


@pytest.fixture(params=["here", "http"])
def address(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "here":
        yield shop()
    else:
        with over_http(shop()) as url:
            yield url


def test_a_server_here_and_over_http(address: Any) -> None:
    told: list[Progress] = []
    with mcp_server(address, trust=True, progress=told.append) as tools:
        price, order, _ = tools
        assert (price.effect, price.labels) == ("read", {"outside"})
        assert (order.effect, order.labels) == ("unsafe", {"outside", "sends"})
        assert call(tools, "price", article="tea") == "5"
        assert told == [Progress("price", 1, 2, "looking")]
        failed = call(tools, "price", article="nothing")
        assert failed.kind == "tool_error"
        assert "there is no such article" in failed.message
        assert call(tools, "order", article="tea").kind == "tool_error"  # nobody can be asked


def test_a_list_that_changes(address: Any) -> None:
    with mcp_server(address) as tools:
        assert call(tools, "price", article="tea") == "5"
        assert call(tools, "change") == "changed"
        while isinstance(said := call(tools, "price", article="tea"), str):
            time.sleep(0.01)  # the news travels by a way of its own
        assert "withdrew price since the task was made" in said.message


@pytest.mark.parametrize(
    ("answer", "said"), [("42", "tea of size 42"), ("big", "'big' is no integer"), (None, "cancel")]
)
def test_input_required(address: Any, answer: str | None, said: str) -> None:
    asked: list[Question] = []

    async def ask(question: Question) -> str | None:
        asked.append(question)
        return answer

    with mcp_server(address, prefix="shop_", ask=ask) as tools:
        result = call(tools, "shop_order", article="tea")
    assert said in (result if isinstance(result, str) else result.message)
    assert asked[0].text == "shop asks: Which size?\nSize"


def test_nobody_is_reached() -> None:
    with mcp_server(shop(), ask=lambda question: str(1 // 0)) as tools:
        failure = call(tools, "order", article="tea")
        assert "no answer: integer division or modulo by zero" in failure.message
        assert call(tools, "price", article="tea") == "5"


def test_a_person_who_never_answers_holds_nothing_up() -> None:
    never = threading.Event()
    with mcp_server(shop(), timeout=0.2, ask=lambda question: str(never.wait())) as tools:
        (late,) = outcomes(run(tools, ToolCall("1", "order", {"article": "tea"})))
        assert late.kind == "timeout"
    never.set()


def test_headers_are_sent_over_http() -> None:
    server = shop()

    @server.tool()
    async def who(context: Context[Any]) -> str:
        request: Any = context.request_context.request
        return str(request.headers["authorization"])

    with (
        over_http(server) as url,
        mcp_server(url, headers={"Authorization": "Bearer ada"}, only=["who"]) as tools,
    ):
        assert call(tools, "who") == "Bearer ada"


def test_a_small_packed_answer_over_http_that_is_huge() -> None:
    body = gzip.compress(b'{"jsonrpc": "2.0", "id": 1, "result": "' + b"x" * 34_000_000 + b'"}', 1)

    class Packed(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            for name, value in {"type": "application/json", "encoding": "gzip"}.items():
                self.send_header(f"content-{name}", value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Packed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(BadInput, match="it sent a message of more than 32 MB"):
            mcp_server(f"http://127.0.0.1:{server.server_port}/mcp").__enter__()
        server.shutdown()


def test_a_server_over_http_that_is_gone() -> None:
    with over_http(shop()) as url:
        serving = mcp_server(url, starting=5)
        tools = serving.__enter__()
    failure = call(tools, "price", article="tea")
    assert failure.kind == "connection"
    assert "cannot be reached" in call(tools, "price", article="tea").message
    serving.__exit__()
    with pytest.raises(BadInput, match=r"127\.0\.0\.1 cannot be reached: ConnectError"):
        mcp_server(url).__enter__()


# ---------------------------------------------------------------------------------- an odd one


def test_a_server_that_crashes_is_started_again() -> None:
    with mcp_server(ODD) as tools:
        first = call(tools, "pid")
        failure = call(tools, "crash")
        assert failure.kind == "connection"
        assert "ended while crash was under way, outcome unknown; exit code 3" in failure.message
        assert "Segmentation of the imagination" in failure.message
        second = call(tools, "pid")
        assert second != first
        os.kill(int(second), signal.SIGKILL)
        assert gone(int(second))
        while isinstance(third := call(tools, "pid"), Failure):
            pass  # its end may be noticed by a call that is under way
        assert third not in (first, second)


def test_a_flood_of_stderr_and_a_huge_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_stdio, "LARGEST", 2**20)
    with mcp_server(ODD) as tools:
        assert call(tools, "flood") == "done"
        huge = call(tools, "huge")
        assert "a message of more than 1 MB" in huge.message
        assert len(huge.message) < 2 * mcp_stdio.LAST_WORDS
        assert call(tools, "pid").isdigit()


def test_a_tool_that_turns_into_another_one() -> None:
    with mcp_server(ODD) as tools:
        call(tools, "change")
        assert "changed hang since the task was made" in call(tools, "hang").message
        assert "withdrew flood since the task was made" in call(tools, "flood").message
        assert call(tools, "pid").isdigit()


def test_an_error_of_a_servers_own_ends_no_connection() -> None:
    with mcp_server(ODD) as tools:
        first = call(tools, "pid")
        failure = call(tools, "busy")
        assert (failure.kind, failure.message) == ("tool_error", "too many calls: wait a minute")
        assert call(tools, "pid") == first


def test_what_holds_up_a_connection_does_not_hold_up_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(mcp_life, "GRACE", 0.1)
    go_on = threading.Event()
    variables = {"ODD_PID": str(tmp_path / "pid")}
    link = mcp_life.Link(mcp_life.Address("odd", tuple(ODD), env=variables))

    async def stuck() -> None:
        go_on.wait(20)

    link.submit(link.tools()).result()
    link.submit(stuck())
    link.close()
    link.join()
    assert not go_on.is_set()
    assert "the connection to odd does not end" in caplog.text
    assert gone(int((tmp_path / "pid").read_text()))
    go_on.set()
    link.join()


def test_a_result_that_is_not_what_was_declared() -> None:
    with mcp_server(ODD) as tools:
        failure = call(tools, "bad")
        assert failure.message == "bad gave what it should not: n: 'many' is not of type 'integer'"
        assert call(tools, "pid").isdigit()


def test_a_result_that_takes_for_ever_to_check() -> None:
    script = f"""
from loopwright.tools.mcp import mcp_server
import asyncio
with mcp_server({ODD!r}, only=["slow"]) as tools:
    print(asyncio.run(tools[0].function({{}})).message)
"""
    assert "slow gave what it should not: n: 'aaa" in printed(script)


def test_a_server_is_given_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    with mcp_server(ODD, env={"SHOP_TOKEN": "given"}) as tools:
        variables = call(tools, "env")
    assert "ANTHROPIC_API_KEY" not in variables
    assert "SHOP_TOKEN" in variables


def test_a_call_that_hangs_hurts_no_other() -> None:
    with mcp_server(ODD, timeout=0.2) as tools:
        done = run(tools, ToolCall("1", "hang"), ToolCall("2", "pid"))
        pid, late = outcomes(done)
        assert pid.isdigit()
        assert (late.kind, done.output) == ("timeout", "Done.")


def test_what_a_server_gives_comes_from_outside() -> None:
    with mcp_server(ODD) as tools:
        done = run(tools, ToolCall("1", "pid"))
    (result,) = [e.result for e in done.events if isinstance(e, Returned)][1:2]
    assert isinstance(result, ToolResult)
    assert result.outside


def test_everything_that_a_server_started_ends_with_the_block(tmp_path: Path) -> None:
    with mcp_server(ODD, env={"ODD_PID": str(tmp_path / "pid")}) as tools:
        child = int(call(tools, "child"))
    assert gone(child)
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_block_that_is_never_left_ends_with_the_program(tmp_path: Path) -> None:
    said = tmp_path / "pid"
    script = f"""
from loopwright.tools import mcp, mcp_stdio
mcp_stdio.GRACE = 0.1
serving = mcp.mcp_server({[*ODD, "stubborn"]!r}, env={{"ODD_PID": {str(said)!r}}})
serving.__enter__()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert gone(int(said.read_text()))


def test_a_stubborn_server_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_stdio, "GRACE", 0.1)
    with mcp_server([*ODD, "stubborn"]) as tools:
        pid = int(call(tools, "pid"))
    assert gone(pid)


def test_an_error_inside_the_block_ends_the_server() -> None:
    with pytest.raises(Mismatch), mcp_server(ODD) as tools:
        call(tools, "pid", x=call(tools, "pid"))
    assert call(tools, "pid").message == "python is closed: call its tools inside the block"


def test_a_server_that_is_closed_under_a_call_says_so() -> None:
    def close(progress: Progress) -> None:
        threading.Thread(target=serving.__exit__).start()

    serving = mcp_server(shop(), progress=close)
    failure = call(serving.__enter__(), "price", article="time")
    assert failure.kind == "connection"
    assert "outcome unknown" in failure.message


def test_a_server_is_in_use_once_and_can_be_used_again() -> None:
    serving = mcp_server(ODD)
    with serving as tools:
        first = call(tools, "pid")
        with pytest.raises(BadInput, match="is in use"):
            serving.__enter__()
        assert call(tools, "pid") == first
    with serving as tools:
        assert call(tools, "pid") != first


def test_a_cancelled_run_ends_its_server(tmp_path: Path) -> None:
    said = tmp_path / "pid"

    async def use(odd: Sequence[str]) -> None:
        async with mcp_server(odd, env={"ODD_PID": str(said)}) as tools:
            task = Task("Use the tools.", tools=tools)
            await Loop(Scripted([ToolCall("1", "hang")])).run(task)

    async def main(*odd: str) -> int:
        said.unlink(missing_ok=True)
        using = asyncio.ensure_future(use([*ODD, *odd]))
        while not said.exists() or not said.read_text():
            await asyncio.sleep(0.01)
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using
        return int(said.read_text())

    assert gone(asyncio.run(main()))
    assert gone(asyncio.run(main("silent")))  # while it starts


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ([*ODD, "dies"], "exit code 1; its last words: no configuration found"),
        ([*ODD, "silent"], "no answer in 0.3 s"),
        (["no-such-command"], "No such file"),
        ([sys.executable, "-c", "a\0b"], "null byte"),
    ],
)
def test_a_server_that_does_not_start(command: list[str], why: str) -> None:
    with pytest.raises(BadInput, match=why), mcp_server(command, starting=0.3):
        pass


def test_a_listener_that_raises_hurts_nobody() -> None:
    with mcp_server(shop(), progress=lambda progress: 1 // 0) as tools:
        assert call(tools, "price", article="tea") == "5"


def test_calls_at_once_from_several_loops() -> None:
    with mcp_server(ODD) as tools:
        pids: list[str] = []
        work = [threading.Thread(target=lambda: pids.append(call(tools, "pid"))) for _ in range(8)]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
    assert len(pids) == 8
    assert len(set(pids)) == 1


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (lambda: mcp_server("npx -y server"), "no URL"),
        (lambda: mcp_server([]), "no command"),
        (lambda: mcp_server(ODD, prefix="my server "), "at most 32 letters"),
        (lambda: mcp_server(ODD, timeout=0), "positive number"),
        (lambda: mcp_server(ODD, only="read_*"), "give a list"),
        (lambda: mcp_server(ODD, only=["read_*"]).__enter__(), "fits none of the tools: bad"),
    ],
)
def test_bad_input(given: Callable[[], Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        given()


def test_without_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(BadInput, match=r"pip install 'loopwright\[mcp\]'"):
        mcp_server(ODD)


# ---------------------------------------------------------------------------------------- laws

NAMES = st.lists(st.text(st.sampled_from("ab_./é") | st.characters(), min_size=1, max_size=130))


@given(NAMES.map(lambda names: sorted(set(names))), st.sampled_from(["", "my_"]), st.randoms())
def test_names_are_legal_and_one_each_in_any_order(
    given: list[str], prefix: str, random: Any
) -> None:
    names = mcp_told.names(given, prefix)
    assert len(set(names.values())) == len(given)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names.values())
    random.shuffle(given)
    assert mcp_told.names(given, prefix) == names


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=8))
def test_arguments_pass_as_they_are_or_not_at_all(arguments: dict[str, Any]) -> None:
    numbers = {"type": "object", "additionalProperties": {"type": "integer"}}
    validator = mcp_told.of_schema(numbers)
    wrong = [name for name, value in arguments.items() if not isinstance(value, int)]
    if not wrong:
        assert mcp_told.checked(validator, arguments) == arguments
        assert mcp_told.checked(validator, arguments) is not arguments
    else:
        with pytest.raises(Mismatch) as error:
            mcp_told.checked(validator, arguments)
        assert len(error.value.problems) == len(wrong)


@pytest.mark.parametrize("deep", [10, 3000])
def test_a_schema_that_leads_astray_is_a_mismatch(deep: int) -> None:
    schema = {"$defs": {"a": {"items": {"$ref": "#/$defs/a"}, "type": "array"}}}
    validator = mcp_told.of_schema({**schema, "properties": {"x": {"$ref": "#/$defs/a"}}})
    value: Any = []
    for _ in range(deep):
        value = [value]
    if deep == 10:
        assert mcp_told.checked(validator, {"x": value}) == {"x": value}
    else:
        with pytest.raises(Mismatch, match="cannot be checked: RecursionError"):
            mcp_told.checked(validator, {"x": value})
    remote = mcp_told.of_schema({"properties": {"x": {"$ref": "http://127.0.0.1:9/schema"}}})
    with pytest.raises(Mismatch, match="cannot be checked"):
        mcp_told.checked(remote, {"x": 1})


REFERRED: dict[str, Any] = {"a0": {"type": "object"}}
for i in range(1, 29):
    REFERRED[f"a{i}"] = {"allOf": [{"$ref": f"#/$defs/a{i - 1}"}] * 2}

ENDLESS: dict[str, dict[str, Any]] = {
    "pattern": {"properties": {"q": {"pattern": "^(a+)+$"}}},
    "inner schema": {
        "properties": {
            "q": {"$schema": "http://json-schema.org/draft-07/schema", "pattern": "^(a+)+$"}
        }
    },
    "names": {"patternProperties": {"^(a+)+$": False}, "additionalProperties": False},
    "unevaluated": {"patternProperties": {"^(a+)+$": False}, "unevaluatedProperties": False},
    "references": {"$defs": REFERRED, "$ref": "#/$defs/a28"},
    "unevaluated references": {
        "$defs": REFERRED,
        "if": False,
        "unevaluatedProperties": False,
        "anyOf": [True, {"$ref": "#/$defs/a28"}],
    },
    "dynamic": {"$defs": REFERRED, "$dynamicRef": "#/$defs/a28"},
}


def test_a_schema_that_takes_for_ever_to_check() -> None:
    value = {"q": "a" * 40 + "!", "a" * 40 + "!": ""}
    script = f"""
from loopwright.errors import Mismatch
from loopwright.tools import mcp_told
for which, schema in {ENDLESS!r}.items():
    try:
        mcp_told.checked(mcp_told.of_schema(schema), {value!r})
        print(which, "is left to the server")
    except Mismatch as error:
        print(which, error)
"""
    said = printed(script).splitlines()
    left = [line.removesuffix(" is left to the server") for line in said]
    assert len(said) == len(ENDLESS)
    assert left[2:4] == ["names", "unevaluated"]
    assert left[5] == "unevaluated references"
    assert all("does not match '^(a+)+$'" in line for line in said[:2])
    assert all("leads to more than 10000 references" in said[line] for line in (4, 6))


@given(st.from_regex(r"[a-z]{0,3}(-[a-z]){0,2}", fullmatch=True) | st.text())
def test_a_pattern_is_checked_here_or_by_the_server(text: str) -> None:
    schema = {"properties": {"x": {"pattern": "^[a-z]+(-[a-z]+)*$"}, "y": {"pattern": "^(?!b)"}}}
    validator = mcp_told.of_schema({**schema, "patternProperties": {"^z": {"type": "string"}}})
    good = re.fullmatch("[a-z]+(-[a-z]+)*", text)
    found = [error.message for error in mcp_bounds.errors(validator, {"x": text, "y": "b"})]
    assert found == ([] if good else [f"{text!r} does not match '^[a-z]+(-[a-z]+)*$'"])
    assert [error.message for error in mcp_bounds.errors(validator, {"zero": 0})] == [
        "0 is not of type 'string'"
    ]


HINTS = st.none() | st.builds(
    ToolAnnotations,
    read_only_hint=st.none() | st.booleans(),
    destructive_hint=st.none() | st.booleans(),
    idempotent_hint=st.none() | st.booleans(),
)


@given(HINTS)
def test_hints_are_believed_of_a_trusted_server_only(hints: ToolAnnotations | None) -> None:
    tool = Tool(name="t", input_schema={"type": "object"}, annotations=hints)
    assert mcp_told.effect(tool, trust=False) == "unsafe"
    trusted = mcp_told.effect(tool, trust=True)
    assert (trusted == "read") == bool(
        hints and hints.read_only_hint and not hints.destructive_hint
    )
    assert trusted != "idempotent" or (hints and hints.idempotent_hint)


@pytest.mark.parametrize("schema", [{"type": "array"}, {"type": "object", "required": 5}, {}])
def test_a_tool_that_no_model_can_be_told_of(schema: dict[str, Any]) -> None:
    tool = Tool(name="t", input_schema=schema)
    making = mcp_told.validator if "required" in schema else partial(mcp_told.spec, "t")
    with pytest.raises(BadInput, match="leave it out with only="):
        making(tool)


@given(st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_a_person_writes(number: float) -> None:
    kind = "integer" if isinstance(number, int) else "number"
    assert mcp_asked.value(str(number), {"type": kind}) == number


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e400", "two"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(BadInput):
        mcp_asked.value(text, {"type": "number"})


def test_a_user_may_know_better() -> None:
    with mcp_server(ODD) as tools:
        (pid,) = [attrs.evolve(t, effect="read") for t in tools if t.name == "pid"]
        assert Task("Use it.", tools=[pid]).tools["pid"].effect == "read"
        assert call([pid], "pid").isdigit()
