"""`shell` and `python`: what a command is held to, and that nothing of it is left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright import BadInput, Loop, Outcome, Task
from loopwright.calls import ToolCall
from loopwright.models import Scripted
from loopwright.tools import Limits, python, shell
from loopwright.tools.process import Finished

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")

OPEN = Limits(seconds=20, network=True)


def run(tool: Any, *args: Any) -> Finished:
    done = asyncio.run(tool(*args))
    assert isinstance(done, Finished)
    return done


def alive(mark: str) -> list[str]:
    """The processes in whose command line `mark` stands, this one and zombies left out."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in line and entry.name != str(os.getpid()):
            found.append(line)
    return found


def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds; half a minute is long enough for any machine."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> str:
    """A number of seconds that no other sleep has."""
    return f"{os.getpid()}.{abs(hash(request.node.name)) % 100_000:05}1"


ATTACKS = ["; echo x", "$(echo x)", "`echo x`", "\necho x", "&& echo x", "| cat", "> file", "$HOME"]


@pytest.mark.parametrize("text", [*ATTACKS, "-n", "*", "ü", ""])
def test_arguments_are_read_by_no_shell(text: str) -> None:
    tool = shell(["printf"], limits=OPEN)
    assert run(tool, ["printf", "%s", text]) == Finished(0, text, "")


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["ls"],
        ["/bin/echo", "x"],
        ["echo"],
        ["echo", "bye"],
        ["echo hi"],
        ["-c", "x"],
        ["git", "push"],
        ["git", "-c", "core.pager=x", "status"],
    ],
)
def test_only_what_begins_like_a_command_is_allowed(argv: list[str]) -> None:
    with pytest.raises(PermissionError, match=r"allowed are: echo hi, git status"):
        run(shell(["echo hi", "git status"], limits=OPEN), argv)


def test_the_beginning_of_a_command_allows_what_follows() -> None:
    assert run(shell(["echo hi"], limits=OPEN), ["echo", "hi", "you"]).stdout == "hi you\n"


@pytest.mark.parametrize("text", ["x" * 131_071, "é" * 65_535, '"' * 131_071, "\n" * 131_071])
def test_an_argument_may_be_as_long_as_any(text: str) -> None:
    done = run(
        shell(["printf"], limits=Limits(output=300_000, network=True)), ["printf", "%s", text]
    )
    assert done == Finished(0, text, "")


def test_several_arguments_may_be_long_together() -> None:
    done = run(shell(["echo"], limits=OPEN), ["echo", *["x" * 100_000] * 5])
    assert (done.exit_code, done.why) == (0, "")


@pytest.mark.parametrize(
    "argv", [["echo", "a\0b"], ["echo", "x" * 131_072], ["echo", "é" * 65_536]]
)
def test_an_argument_that_no_process_can_have_is_an_error(argv: list[str]) -> None:
    with pytest.raises(ValueError, match="no NUL and at most 131071 bytes"):
        run(shell(["echo"], limits=OPEN), argv)


def test_nothing_of_the_environment_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_KEY", "swordfish")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    done = run(shell(["env"], variables={"COLOUR": "blue"}, limits=OPEN), ["env"])
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert names == {"PATH", "LANG", "HOME", "TMPDIR", "COLOUR"}
    assert "swordfish" not in repr(shell(["env"], variables={"KEY": "swordfish"}, limits=OPEN))


def test_a_command_runs_in_its_folder_or_in_none_that_stays(tmp_path: Path) -> None:
    assert run(shell(["pwd"], folder=tmp_path, limits=OPEN), ["pwd"]).stdout == f"{tmp_path}\n"
    left = run(shell(["pwd"], limits=OPEN), ["pwd"]).stdout.strip()
    assert not Path(left).exists()


def test_the_way_a_command_ends_is_told() -> None:
    line = shell(sh=True, limits=OPEN)
    assert run(line, "echo out; echo err >&2; exit 3") == Finished(3, "out\n", "err\n")
    assert run(line, "kill -9 $$").exit_code == -9
    gone = run(shell(["no-such-program"], limits=OPEN), ["no-such-program"])
    assert gone == Finished(None, "", "", "it could not be started: No such file or directory")
    assert run(line, "read x; echo $?").stdout == "1\n"  # its input is empty


def test_a_gigabyte_of_output_fills_no_memory() -> None:
    """The child measures itself: no other test's memory counts."""
    script = """if True:
        import asyncio, re
        from loopwright.tools import Limits, shell
        head = shell(["head"], limits=Limits(network=True, output=1000))
        done = asyncio.run(head(["head", "-c", "1000000000", "/dev/zero"]))
        print(done.exit_code, len(done.stdout), "999999000 of 1000000000 bytes" in done.stdout)
        peak = re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())
        print(int(peak[1]) < 200_000)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "0 1046 True\nTrue\n", done.stderr


def test_of_long_output_the_ends_are_kept() -> None:
    tool = python(limits=Limits(network=True, output=20))
    said = run(tool, "print('a' * 50 + 'z' * 50, end='')").stdout
    assert said == f"{'a' * 10}\n[… 80 of 100 bytes left out …]\n{'z' * 10}"


def test_a_command_that_never_ends_is_ended_with_its_children(mark: str) -> None:
    line = f"echo begun; sleep {mark} & setsid sleep {mark} & sleep {mark}"
    done = run(shell(sh=True, limits=Limits(seconds=0.3, network=True)), line)
    assert done == Finished(None, "begun\n", "", "it was ended after 0.3 s")
    assert not alive(mark)


def test_what_is_left_in_the_background_ends_with_the_command(mark: str) -> None:
    line = f"sleep {mark} & setsid sleep {mark} & (setsid setsid sleep {mark} &) ; echo done"
    assert run(shell(sh=True, limits=OPEN), line) == Finished(0, "done\n", "")
    assert not alive(mark)


def test_cancellation_ends_the_command(mark: str) -> None:
    async def cancelled() -> None:
        task = asyncio.ensure_future(
            shell(sh=True, limits=OPEN)(f"yes & setsid sleep {mark} & sleep {mark}")
        )
        while len(alive(f"sleep {mark}")) < 3:  # the shell itself, and two sleeps
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not alive(mark)

    asyncio.run(cancelled())


def test_the_command_ends_with_a_killed_owner(mark: str) -> None:
    script = f"""if True:
        import asyncio
        from loopwright.tools import Limits, shell
        line = "setsid sleep {mark} & sleep {mark}"
        asyncio.run(shell(sh=True, limits=Limits(network=True))(line))
    """
    owner = subprocess.Popen([sys.executable, "-c", script])
    until(lambda: len(alive(f"sleep {mark}")) >= 4)  # the owner and the shell, too
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    until(lambda: not alive(mark))


def test_a_command_that_kills_its_supervisor_ends_too(mark: str) -> None:
    done = run(shell(sh=True, limits=OPEN), f"kill -9 $PPID; sleep {mark}")
    assert done.why == "its supervisor was killed"
    assert not alive(mark)


@pytest.mark.parametrize("rubbish", ["no JSON", "[1]", "5", "[" * 60_000])
def test_rubbish_in_the_report_of_the_supervisor_is_passed_over(rubbish: str) -> None:
    program = f"""if True:
        import os
        folder = f"/proc/{{os.getppid()}}/fd"
        for name in os.listdir(folder):
            if os.readlink(f"{{folder}}/{{name}}").startswith("pipe:") and int(name) > 2:
                handle = os.open(f"{{folder}}/{{name}}", os.O_WRONLY | os.O_NONBLOCK)
                os.write(handle, b{rubbish!r} + b"\\n")
        raise SystemExit(7)
    """
    assert run(python(limits=OPEN), program) == Finished(7, "", "")


def test_a_forged_report_of_a_killed_supervisor_is_no_error() -> None:
    program = """if True:
        import os, signal
        folder, pid = f"/proc/{os.getppid()}/fd", os.getppid()
        for name in os.listdir(folder):
            if os.readlink(f"{folder}/{name}").startswith("pipe:") and int(name) > 2:
                handle = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_NONBLOCK)
                os.write(handle, b'{"why": ""}\\n')
        os.kill(pid, signal.SIGKILL)
        signal.pause()
    """
    assert run(python(limits=OPEN), program).exit_code is None


def test_a_fork_bomb_is_held(mark: str) -> None:
    tool = shell(sh=True, limits=Limits(seconds=10, processes=20, network=True))
    done = run(tool, f"f() {{ f | f & }}; f; sleep {mark}")
    assert done.why == "it was ended: it had more than 20 processes"
    assert not alive(mark)


def test_memory_files_and_cores_are_limited() -> None:
    tool = python(limits=Limits(memory=300_000_000, file_size=1000, network=True))
    assert "MemoryError" in run(tool, "x = 'x' * 400_000_000").stderr
    program = "with open('f', 'w') as file: file.write('x' * 1001)"
    assert "File too large" in run(tool, program).stderr
    program = "import resource as r; print(r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_CPU))"
    assert run(tool, program).stdout == "(0, 0) (61, 61)\n"


def test_there_is_no_network_unless_it_is_allowed() -> None:
    program = """if True:
        import socket
        print(len(socket.if_nameindex()))
        try:
            print(socket.create_connection(('127.0.0.1', 1)))
        except OSError as error:
            print(error.errno)
    """
    done = run(python(limits=Limits(seconds=20)), program)
    if "cannot be cut off" in done.why:
        assert done == Finished(None, "", "", done.why)  # refused, and not run with a network
    else:
        interfaces, errno = map(int, done.stdout.split())
        assert (interfaces, errno) == (1, 101)  # ENETUNREACH: the loopback is down
    assert run(python(limits=OPEN), program).stdout.split()[1] == "111"  # ECONNREFUSED


def test_python_sees_no_module_of_this_folder(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('taken over')")
    done = run(
        python(folder=tmp_path, limits=OPEN), "import json, os; print(json.dumps(os.getcwd()))"
    )
    assert done == Finished(0, f'"{tmp_path}"\n', "")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: shell(), "name the commands"),
        (lambda: shell(["ls"], sh=True), "name the commands"),
        (lambda: shell("ls"), "give a list of texts"),
        (lambda: shell([" "]), "a command is empty"),
        (lambda: shell(["git 'x"]), "No closing quotation; close every quote"),
        (lambda: shell(["ls"], variables={"A": 1}), "variables: give names and texts"),  # type: ignore[dict-item]
        (lambda: Limits(seconds=-1), "seconds=-1: give a positive number"),
        (lambda: Limits(seconds="5"), "seconds='5': give a positive number"),  # type: ignore[arg-type]
        (lambda: Limits(output=10.5), "output=10.5: give a whole number of at least 2"),  # type: ignore[arg-type]
        (lambda: Limits(memory=1e9), "memory=1000000000.0: give a whole number"),  # type: ignore[arg-type]
        (lambda: shell(["ls"], folder="/nowhere"), "'/nowhere' is no folder"),
        (lambda: python(limits=5), r"limits=5: give Limits\("),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_work_is_refused(make: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        make()


def test_they_are_unsafe_and_say_so() -> None:
    for tool in (shell(["ls"]), python()):
        assert (tool.effect, tool.labels) == ("unsafe", {"private", "outside"})
    assert "sends" in shell(["ls"], limits=OPEN).labels
    assert (
        shell(["ls", "git log"]).description
        == "Run a command, without a shell. One of: ls, git log."
    )


def test_a_run_goes_on_after_any_end() -> None:
    model = Scripted(
        [
            ToolCall("1", "python", {"code": "raise SystemExit(5)"}),
            ToolCall("2", "python", {"code": "print('\\ud800 \\x00 ok')"}),
            ToolCall("3", "shell", {"argv": ["rm"]}),
            "Done.",
        ]
    )
    task = Task("Try.", tools=[python(limits=OPEN), shell(["ls"], limits=OPEN)])
    run = Loop(model).run_now(task)
    assert (run.outcome, run.output) == (Outcome.accepted, "Done.")
    told = [request.messages[-1].blocks[0].content for request in model.requests[1:]]  # type: ignore[union-attr]
    assert '"exit_code": 5' in told[0]
    assert "UnicodeEncodeError" in told[1]
    assert told[2] == "PermissionError: rm is not allowed; allowed are: ls"
