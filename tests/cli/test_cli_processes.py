"""The command line in processes of its own: following another process, pipes, interruptions."""

import os
import pty
import queue
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from cli.clerk import APP

from loopwright import Log, Loop, Task
from loopwright.calls import Request, ToolCall
from loopwright.events import Ended, Event
from loopwright.log.jsonl import events
from loopwright.models import Scripted
from loopwright.tools import tool

WORDS = [sys.executable, "-m", "loopwright"]


def command(folder: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*WORDS, *words], cwd=folder, capture_output=True, text=True, **more)


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*WORDS, *words], cwd=folder, **pipes)


# ------------------------------------------------------------------------------------------- tail


class Gate:
    """A tool that goes on when it is let: so many calls."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self.open = threading.Semaphore(0)

    def run(self, log: Log) -> tuple[threading.Thread, str]:
        """A run that has begun, in a thread."""

        @tool(effect="read", timeout=60)
        def wait(turn: int) -> str:
            """Wait."""
            self.open.acquire()
            return f"turn {turn} is over"

        def asks(request: Request) -> Any:
            turn = len(request.messages) // 2
            return ToolCall("1", "wait", {"turn": turn}) if turn < self.calls else "Done."

        there: queue.Queue[str] = queue.Queue()
        loop = Loop(Scripted(asks), log=log, watch=lambda run, event: there.put(run.run_id))
        thread = threading.Thread(target=loop.run_now, args=(Task("Wait.", tools=[wait]),))
        thread.start()
        return thread, there.get(timeout=60)


@pytest.mark.parametrize("words", [["last"], [], ["--all"]])
def test_tail_shows_each_event_of_another_process_as_it_comes(
    log: Log, tmp_path: Path, words: list[str]
) -> None:
    """The run goes on only once the event before was shown: none waits for the next one."""
    gate, every = Gate(calls=3), words == ["--all"]
    told = Told(tmp_path, *words) if every else None
    if told:
        told.awake(log)
    thread, run_id = gate.run(log)
    told = told or Told(tmp_path, *words)
    shown: list[tuple[str, int, Event]] = []
    while not shown or not isinstance(shown[-1][2], Ended):
        shown += (new := [one for one in events([told.line()]) if one[0] == run_id])
        if new and isinstance(getattr(new[0][2], "call", None), ToolCall):
            gate.open.release()
    thread.join()
    assert told.ended(interrupted=every) == (130 if every else 0)
    assert shown == [(run_id, seq, e) for seq, e in enumerate(log.events(run_id), 1)]


class Told:
    """What ``tail --json`` tells, line by line."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.process = started(folder, "tail", "--json", *words)
        self.lines: queue.Queue[str] = queue.Queue()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def awake(self, log: Log) -> None:
        """Until it tells of a run that has begun after it."""
        while self.lines.empty():
            Loop(Scripted(["Hi."]), log=log).run_now(Task("x", name="before"))

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put(line)

    def line(self) -> str:
        return self.lines.get(timeout=60)

    def ended(self, interrupted: bool) -> int:
        if interrupted:
            self.process.send_signal(signal.SIGINT)
        self.thread.join()
        assert self.process.stderr
        assert self.process.stderr.read() == ""
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()
        return self.process.wait()


def test_tail_can_be_interrupted(log: Log, tmp_path: Path, waiting: str) -> None:
    process = started(tmp_path, "tail", waiting, "--wait")
    assert process.stdout
    while "waiting: " not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said, error = process.communicate()
    assert (process.returncode, said, error) == (130, "", "")


def test_tail_of_a_run_that_is_over_ends(tmp_path: Path, done: str) -> None:
    shown = command(tmp_path, "tail", done).stdout.splitlines()
    assert [line.split()[2] for line in shown] == [
        *("Started", "Intended", "Returned", "Inspected", "Decided", "Ended")
    ]
    assert command(tmp_path, "tail", "-n", "2").stdout.splitlines() == shown[-2:]


# ----------------------------------------------------------------------------- pipes and terminals


def test_nobody_reads_on(log: Log, tmp_path: Path) -> None:
    loop = Loop(Scripted(["Hi."] * 300), log=log)
    loop.map_now(Task("x" * 400), [{}] * 300)
    process = started(tmp_path, "export")
    assert process.stdout
    assert process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 1


@pytest.mark.parametrize(("variable", "coloured"), [("NOTHING", True), ("NO_COLOR", False)])
def test_colours_are_for_terminals_that_want_them(
    tmp_path: Path, done: str, variable: str, coloured: bool
) -> None:
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "500", variable: "1"}
    screen = on_a_terminal(tmp_path, ["show", "last", "--text"], environment)
    assert ("\x1b[" in screen) == coloured
    assert "\x1b" not in command(tmp_path, "show", "last", env=environment).stdout


def test_what_fits_no_screen_is_paged(tmp_path: Path, done: str) -> None:
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\nsed 's/^/paged: /'\n")
    pager.chmod(0o700)
    environment = {**os.environ, "PAGER": str(pager), "COLUMNS": "80", "LINES": "3"}
    screen = on_a_terminal(tmp_path, ["show", "last", "--text"], environment)
    assert "paged: greet" in screen
    assert "paged" not in command(tmp_path, "show", "last", env=environment).stdout


def on_a_terminal(folder: Path, words: list[str], environment: dict[str, str]) -> str:
    """What a command shows on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*WORDS, *words], cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()


def test_the_page_opens_in_the_browser(tmp_path: Path, done: str) -> None:
    """The browser here is a program that writes down what it is to open."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/opened\n')
    browser.chmod(0o700)
    environment = {**os.environ, "BROWSER": str(browser), "TMPDIR": str(tmp_path)}
    assert command(tmp_path, "show", done, "--web", env=environment).returncode == 0
    (page,) = tmp_path.glob("loopwright-*.html")
    assert (tmp_path / "opened").read_text() == page.as_uri()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600


def test_a_browser_that_was_asked_for_is_there_or_missed(tmp_path: Path, done: str) -> None:
    environment = {**os.environ, "BROWSER": "no-such-browser", "PATH": "", "TMPDIR": str(tmp_path)}
    missed = command(tmp_path, "show", done, "--web", env=environment)
    said = "Error: no browser can be opened here: leave --web out, or say --save FILE\n"
    assert (missed.returncode, missed.stdout, missed.stderr) == (2, "", said)
    assert done in command(tmp_path, "show", done, "--web", "--text", env=environment).stdout


def test_a_screen_with_few_letters(tmp_path: Path, log: Log) -> None:
    Loop(Scripted(["Grüße"]), log=log).run_now(Task("上海", name="上海"))
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [*WORDS, "show", "last"], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    shown = done.stdout.decode("latin-1")
    assert shown.startswith("\\u4e0a\\u6d77: accepted")
    assert shown.endswith("Grüße\n")


# ------------------------------------------------------------------------------------------- shells


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_is_told_what_to_do(tmp_path: Path, shell: str) -> None:
    told = command(tmp_path, "completion", shell)
    assert "_LOOPWRIGHT_COMPLETE" in told.stdout, told.stderr


def completed(folder: Path, *words: str) -> list[str]:
    """What bash would offer for the last of these words."""
    program = str(Path(sys.executable).with_name("loopwright"))
    environment = {
        **os.environ,
        "_LOOPWRIGHT_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("loopwright", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run([program], cwd=folder, env=environment, capture_output=True, text=True)
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands_and_runs_are_completed(tmp_path: Path, log: Log, done: str) -> None:
    assert completed(tmp_path, "sh") == ["show"]
    assert completed(tmp_path, "show", done[:3]) == [done]
    assert completed(tmp_path, "runs", "--outcome", "acc") == ["accepted"]
    assert completed(tmp_path, "show", "--log", "ru") == ["ru"]  # as a file, says its kind
    assert "--by" in completed(tmp_path, "spend", "--")
    assert completed(tmp_path, "show", "--log", "other.db", "0") == []
    assert not (tmp_path / "other.db").exists()


def test_an_id_that_a_shell_could_take_for_more_is_not_offered(tmp_path: Path, log: Log) -> None:
    import asyncio

    loop = Loop(Scripted(["Hi."] * 3), log=log)
    for run_id in ("a$(touch x)", "a\x1b[31m", "a-b.c"):
        asyncio.run(loop.run_as(run_id, Task("x"), {}))
    assert completed(tmp_path, "show", "a") == ["a-b.c"]


def test_help_loads_no_more_than_it_needs(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom loopwright.cli import main\nsys.argv = ['loopwright', '--help']\n"
        "try: main()\nexcept SystemExit: pass\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    words = [sys.executable, "-c", script]
    loaded = subprocess.run(words, capture_output=True, text=True).stderr.split()
    heavy = {"asyncio", "sqlite_utils", "anthropic", "openai", "httpx", "pydantic"}
    assert not {name.partition(".")[0] for name in loaded} & heavy
    assert "loopwright.log.store" not in loaded


def test_a_run_that_is_interrupted_is_cancelled(tmp_path: Path, log: Log, waiting: str) -> None:
    """Ctrl-C while a command carries a run on."""
    slow = APP.replace("def refund", "async def refund").replace(
        "    return f", "    import asyncio\n    await asyncio.sleep(60)\n    return f", 1
    )
    (tmp_path / "slow.py").write_text(slow)
    (question,) = log.questions(waiting)
    log.answer(waiting, "approve", question=question.id)
    process = started(tmp_path, "resume", waiting, "--app", "slow.py")
    while not (tmp_path / "paid").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert (process.returncode, "Traceback" in error) == (130, False)
    assert log.run(waiting).outcome == "cancelled"
