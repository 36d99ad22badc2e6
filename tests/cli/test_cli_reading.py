"""Commands that look at a log: what they show, as words and as JSON, and how they end."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cli.clerk import Typed, data
from click import UsageError, unstyle
from hypothesis import given
from hypothesis import strategies as st

from loopwright import Log, Loop, Run, Task
from loopwright.calls import ToolCall
from loopwright.cli import out
from loopwright.cli.group import COMMANDS
from loopwright.cli.options import named
from loopwright.models import Scripted, set_price
from loopwright.policies import Retry
from loopwright.show.text import visible
from loopwright.tools import tool


def carried(log: Log, answers: list[object], **of_task: object) -> Run:
    task = Task("Greet {name}.", name="greet", **of_task)  # type: ignore[arg-type]
    return Loop(Scripted(answers), policies=[Retry()], log=log).run_now(task, name="Ada")


def short(answer: str) -> str | None:
    return None if len(answer) < 8 else "Too long."


# ------------------------------------------------------------------------------------ runs, spend


def test_runs_are_listed_the_newest_first(typed: Typed, log: Log) -> None:
    ids = [carried(log, ["Hi Ada."]).run_id for _ in range(3)]
    shown = typed("runs").stdout.splitlines()
    assert [line.split()[0] for line in shown[1:4]] == ids[::-1]
    assert [row["run"] for row in data(typed("runs", "--json"))["rows"]] == ids[::-1]
    assert len(data(typed("runs", "-n", "2", "--json"))["rows"]) == 2


def test_options_stand_behind_the_command(typed: Typed) -> None:
    assert "loopwright runs --log FILE" in typed("--log", "runs.db", "runs", status=2).stderr


def test_what_cannot_be_written_is_said(typed: Typed, app: Path, waiting: str) -> None:
    words = ("export-test", "last", "--app", "clerk.py", "--save", "clerk.py/test_it.py")
    assert typed(*words, status=2).stderr == "Error: clerk.py/test_it.py: Not a directory\n"


def test_a_folder_that_is_not_there_is_to_be_made(typed: Typed, app: Path, waiting: str) -> None:
    export = ("export-test", "last", "--app", "clerk.py")
    for words in (export, ("show", "last"), ("board",)):
        said = typed(*words, "--save", "t/x.py", status=2).stderr
        assert said == "Error: t/x.py cannot be written: there is no folder t: make it first\n"


def test_no_such_runs(typed: Typed, log: Log, done: str) -> None:
    assert typed("runs", "--task", "other", status=3).stdout == ""
    assert data(typed("runs", "--task", "other", "--json", status=3))["rows"] == []
    assert "ISO date" in typed("runs", "--since", "soon", status=2).stderr


def test_what_was_spent(typed: Typed, log: Log) -> None:
    set_price("scripted:scripted", "1", "1")
    run = carried(log, ["Hello, dear Ada!", "Hi."], checks=[short])
    held = data(typed("spend", "--by", "model", "--json"))
    assert sum(row["cost_nano"] for row in held["rows"]) == run.spent.settled > 0
    assert "scripted:scripted" in typed("spend", "--by", "model").stdout
    assert "greet" in typed("spend", "--by", "task").stdout
    assert typed("spend", "--by", "colour", status=2).stdout == ""


def test_what_it_cost_is_shown_on_a_narrow_terminal(
    log: Log, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out, "_columns", lambda: 80)
    for name in ("a-model-with-a-long-name", "b"):
        Loop(Scripted(["Hi."], name=name), log=log).run_now(Task("x"))
    head = unstyle(typed("spend", "--by", "model").stdout.splitlines()[0])
    assert head.split()[:2] == ["model", "cost_usd"]


def test_a_title_that_is_stored_in_another_form_is_shown_as_it_is(typed: Typed, log: Log) -> None:
    for name in ("NUL \0 title", "W" * 3_000):
        Loop(Scripted(["Hi."]), log=log).run_now(Task("x", name=name))
        shown = visible(name)
        assert f"  {shown}  " in typed("runs").stdout
        assert f"{shown}  " in typed("spend", "--by", "task").stdout
        assert [run.task for run in log.runs(task=name)] == [name]
    assert data(typed("runs", "--task", name, "--json"))["rows"][0]["task"] == name


def test_what_is_no_utf_8_is_refused(typed: Typed, done: str) -> None:
    for words in (("show", "\udcff\udcfez"), ("runs", "--task", "Gr\udcc3\udcb6\udcdfe")):
        assert "is no UTF-8: write it so" in typed(*words, status=2).stderr


def test_nobody_has_to_be_there_to_read_it(done: str, tmp_path: Path) -> None:
    for command in ("runs", "show last", "show last --text", "search Ada", "approve last"):
        said = f"{sys.executable} -m loopwright {command} <&- >&-"
        ended = subprocess.run(said, shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert "Traceback" not in ended.stderr
        assert ended.returncode == (3 if "approve" in command else 0), ended.stderr


# ------------------------------------------------------------------------------------------- show


def test_a_run_step_by_step(typed: Typed, log: Log) -> None:
    run = carried(log, ["Hello, dear Ada!", "Hi Ada."], checks=[short])
    shown = typed("show", "last").stdout
    assert shown.startswith("greet: accepted (verified)\n")
    for said in (run.run_id, "problem: Too long.", "Retry: TryAgain", "   2  scripted", "Hi Ada."):
        assert said in shown


def test_a_run_is_saved_and_given_as_data(typed: Typed, done: str) -> None:
    assert data(typed("show", "last", "--json", "--save", "run.html"))["run"] == done
    assert Path("run.html").read_text().startswith("<!doctype html>")
    assert typed("show", "last", "--json", "--save", "-").stdout == Path("run.html").read_text()


def test_a_run_as_data(typed: Typed, log: Log) -> None:
    run = carried(log, ["Hello, dear Ada!", "Hi Ada."], checks=[short])
    held = data(typed("show", run.run_id, "--json"))
    assert [step["step"] for step in held["steps"]] == [1, 2]
    assert (held["outcome"], held["output"], held["events"]) == ("accepted", "Hi Ada.", run.seq)
    assert held["cost_nano"] == run.spent.settled
    assert set(held) == KEYS


KEYS = {
    *("run", "parent", "task", "version", "label", "model", "outcome", "verified", "why", "output"),
    *("started", "seconds", "step", "events", "cost_usd", "cost_nano", "possible_cost_nano"),
    *("limits", "steps", "questions"),
}
"""What scripts may rely on."""


def test_the_page_is_written_for_its_owner_only(typed: Typed, done: str, tmp_path: Path) -> None:
    assert typed("show", done, "--save", "run.html").stdout == ""
    page = tmp_path / "run.html"
    assert page.read_text().startswith("<!doctype html>")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert typed("show", done, "--save", "-").stdout.startswith("<!doctype html>")
    assert "cannot be written" in typed("show", done, "--save", "no/such/x", status=2).stderr


@pytest.mark.parametrize("part", ["", "-wal", "-shm"])
@pytest.mark.parametrize("words", ["show last", "board", "export", "datasette-metadata"])
def test_nothing_is_saved_over_a_log(
    typed: Typed, done: str, log: Log, words: str, part: str
) -> None:
    path = f"{log.path}{part}"
    said = typed(*words.split(), "--save", path, status=2).stderr
    assert "is a database, or a part of one: choose another path" in said
    assert "findings 0" in typed("check").stdout
    assert done in typed("runs").stdout


# ----------------------------------------------------------------------------------- search, diff


def test_messages_are_found_by_their_words(typed: Typed, log: Log, done: str) -> None:
    (found,) = data(typed("search", "HELL", "--json"))
    assert (found["run"], found["piece"]) == (done, "[Hello] Ada.")
    assert "[Hello]" in typed("search", "hello").stdout
    assert data(typed("search", "nowhere", "--json", status=3)) == []
    assert typed("search", "...", status=2).stdout == ""


def test_a_run_does_not_differ_from_itself(typed: Typed, done: str) -> None:
    pytest.importorskip("loopwright.diff")
    assert data(typed("diff", done, done, "--json"))["differ"] is False
    typed("diff", done, "last")


def test_two_runs_differ(typed: Typed, log: Log) -> None:
    pytest.importorskip("loopwright.diff")
    one = carried(log, ["Hi Ada."]).run_id
    other = carried(log, ["Hello, dear Ada!", "Hi."], checks=[short]).run_id
    held = data(typed("diff", one, other, "--json", status=1))
    assert (held["a"], held["b"], held["differ"]) == (one, other, True)
    assert held["what"] in typed("diff", one, other, status=1).stdout


def test_the_board_is_a_page(typed: Typed, done: str) -> None:
    pytest.importorskip("loopwright.show.board")
    assert typed("board", "--save", "-").stdout.startswith("<!doctype html>")
    assert data(typed("board", "--save", "board.html", "--json")) == {"saved": "board.html"}


# ------------------------------------------------------------------------------- names of runs

SOME = st.lists(st.text("ab.", min_size=1, max_size=4), min_size=1, max_size=5, unique=True)


class Ids:
    """A log that holds runs of these ids."""

    path = "runs.db"

    def __init__(self, ids: list[str]) -> None:
        self.runs = sorted(ids)

    def ids(self) -> list[str]:
        return self.runs

    def asked(self, query: str, values: object) -> list[object]:
        return []


@given(SOME, st.text("ab.", min_size=1, max_size=4))
def test_a_run_is_named_by_what_means_only_it(ids: list[str], text: str) -> None:
    fits = [run for run in ids if run.startswith(text) or run.endswith(text)]
    try:
        meant = named(Ids(ids), text)  # type: ignore[arg-type]
    except out.NotFound:
        assert not fits
    except UsageError:
        assert len(fits) > 1
    else:
        family = all(run == meant or run.startswith(f"{meant}.") for run in fits)
        assert meant == text or (meant in fits and family)


@given(SOME)
def test_every_run_can_be_named_in_full(ids: list[str]) -> None:
    assert [named(Ids(ids), run) for run in ids] == ids  # type: ignore[arg-type]


def test_the_last_run_is_the_newest_that_no_other_began(typed: Typed, log: Log) -> None:
    loop = Loop(Scripted(["Hi."] * 3), log=log)
    loop.run_now(Task("x", name="first"))
    task = Task("x", name="last")
    newest = loop.run_now(task)

    async def child() -> Run:
        return await loop.run_as(f"{newest.run_id}.m1-0", task, {}, parent=newest.run_id)

    import asyncio

    asyncio.run(child())
    assert data(typed("show", "last", "--json"))["run"] == newest.run_id


def test_a_run_that_is_not_there(typed: Typed, done: str) -> None:
    assert "`loopwright runs` lists them" in typed("show", "nobody", status=3).stderr
    assert "there is no log other.db" in typed("runs", "--log", "other.db", status=3).stderr


def test_a_beginning_that_fits_several(typed: Typed, log: Log) -> None:
    ids = [carried(log, ["Hi."]).run_id for _ in range(2)]
    assert f"may be any of 2 runs: {ids[0]}, {ids[1]}" in (
        typed("show", ids[0][:4], status=2).stderr.replace("\n", " ")
    )


# -------------------------------------------------------------------------------------- what holds


@pytest.mark.parametrize("command", [c for group in COMMANDS.values() for c in group])
def test_every_command_has_help_with_an_example_and_json(typed: Typed, command: object) -> None:
    name = str(command.name)  # type: ignore[attr-defined]
    told = typed(name, "--help").output
    assert "Example" in told
    assert f"loopwright {name}" in told
    assert "--json" in told


def test_the_exit_status_is_documented(typed: Typed) -> None:
    told = " ".join(typed("--help").output.split())
    assert "0 done; 1 bad news" in told
    assert "130 interrupted" in told


def test_a_damaged_log_is_no_traceback(typed: Typed, log: Log, done: str, tmp_path: Path) -> None:
    log.close()
    path = tmp_path / "runs.db"
    path.write_bytes(path.read_bytes()[:4096] + b"\x55" * 8192)
    (tmp_path / "runs.db-wal").unlink(missing_ok=True)
    assert typed("show", done, status=1).stderr.startswith("Error: ")


# ------------------------------------------------------------------------------------------ tables


@given(
    st.lists(
        st.fixed_dictionaries({"run": st.text(max_size=9), "n": st.integers(0, 99), "x": st.text()})
    )
)
def test_a_table_is_aligned(rows: list[dict[str, object]]) -> None:
    lines = [unstyle(line) for line in out.table(rows)]
    assert len(lines) == len(rows) + 1
    for line in lines:
        assert line.isprintable()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=9), st.integers(30, 120))
def test_what_has_no_room_is_left_out_from_the_end(widths: list[int], most: int) -> None:
    fitted = out._fitted(widths, most)
    assert fitted[0] == widths[0]
    pairs = zip(fitted, widths, strict=False)
    assert all(now == was or out.NARROWEST <= now < was for now, was in pairs)
    assert sum(fitted) + 2 * len(fitted) - 2 <= most or len(fitted) <= 2
    assert fitted == widths or sum(widths) + 2 * len(widths) - 2 > most


def test_small_and_large_numbers_are_written_out() -> None:
    shown = [line.strip() for line in out.table([{"n": 6.6e-05}, {"n": 12345678.5}, {"n": 0.0}])]
    assert shown[1:] == ["0.000066", "12345678.5", "0"]


def test_wide_characters_take_two_columns() -> None:
    head, one, two = out.table([{"run": "上海", "n": 1}, {"run": "abcd", "n": 2}])
    assert unstyle(head) == "run   n"
    assert (one, two) == ("上海  1", "abcd  2")


@tool(effect="read")
def look(at: str, big: int, none: float) -> str:
    """Look."""
    return "seen"


def test_json_holds_what_json_cannot_hold(typed: Typed, log: Log) -> None:
    """Also numbers that are none, and characters that are none."""
    call = ToolCall("1", "look", {"at": "\ud800\0\x7f", "big": 2**70, "none": float("nan")})
    run = carried(log, [call, "Hi."], tools=[look]).run_id
    told = typed("export", run).stdout.splitlines()
    assert len(told) == len(log.events(run))
    for line in told:
        assert json.loads(line, parse_constant=pytest.fail)["run"] == run
