"""Commands that keep a log: they say what they would do, ask, and do that."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cli.clerk import Typed, data

from loopwright import Log, LogError, Loop, Task
from loopwright.log.redact import redact
from loopwright.models import Scripted

SECRET = "Ada Lovelace, 12 St James's Square"


def said(log: Log, words: str = "Hello.") -> str:
    return Loop(Scripted([words]), log=log).run_now(Task("Greet.", name="greet")).run_id


def test_a_whole_log(typed: Typed, done: str) -> None:
    assert "findings 0" in typed("check").stdout
    assert data(typed("check", "--json")) == {"rows": [], "summary": {**WHOLE}}


WHOLE = {"runs": 1, "whole": 1, "events": 6, "good": 6, "texts": 0, "findings": 0}


def test_damage_is_bad_news(typed: Typed, log: Log, done: str) -> None:
    log.close()
    database = sqlite3.connect(log.path)
    database.execute("drop trigger events_no_update")
    database.execute("update events set time = time + 1 where seq = 3")
    database.commit()
    database.close()
    held = data(typed("check", "--json", status=1))
    assert any((row["run"], row["seq"]) == (done, 3) for row in held["rows"])
    assert f"run: {done}\nseq: 3\n" in typed("check", status=1).stdout


def test_old_runs_are_removed_once_it_is_agreed(typed: Typed, log: Log, done: str) -> None:
    before = ("vacuum", "--before", "2100-01-01")
    assert typed(*before, "--dry-run").stdout.startswith("Would remove the events of runs")
    assert data(typed(*before, "--dry-run", "--json"))["summary"]["runs"] == 1
    assert "add --yes" in typed(*before, status=2).stderr
    assert log.has(done)
    assert data(typed(*before, "--yes", "--json"))["summary"]["runs"] == 1
    assert not log.has(done)
    assert "runs 0" in typed(*before, "--yes").stdout
    assert "before='soon': give an ISO date" in typed("vacuum", "--before", "soon", status=2).stderr
    assert done in typed("runs").stdout
    assert f"the events of run {done} were removed" in typed("show", done, status=3).stderr


def test_logs_are_merged(typed: Typed, log: Log, done: str, tmp_path: Path) -> None:
    other = Log(tmp_path / "other.db")
    more = said(other)
    words = ("merge", "--log", "all.db", "runs.db", "other.db")
    assert data(typed(*words, "--dry-run", "--json"))["summary"]["runs"] == 2
    assert not (tmp_path / "all.db").exists()
    typed(*words, "--yes")
    both = Log(tmp_path / "all.db")
    assert both.ids() == sorted([done, more])
    assert stat.S_IMODE((tmp_path / "all.db").stat().st_mode) == 0o600
    assert "runs 0" in typed(*words, "--yes").stdout
    told = typed("merge", "nobody.db", status=3).stderr
    assert told == "Error: there is no log nobody.db: give the paths of logs\n"
    for one in (other, both):
        one.close()


def test_a_text_is_removed_and_never_shown(typed: Typed, log: Log) -> None:
    run = said(log, f"Dear {SECRET}!")
    log.close()
    words = ("redact", "--dry-run")
    asked = typed(*words, said=f"{SECRET}\n")
    assert asked.stdout.startswith(f"Would remove a text of {len(SECRET)} characters")
    assert SECRET in typed("show", run, "--text").stdout
    done = typed("redact", "--yes", said=f"{SECRET}\n")
    for shown in (asked, done):
        assert SECRET not in shown.output
    assert "Dear [redacted]!" in typed("show", run, "--text").stdout
    assert "findings 0" in typed("check").stdout
    assert "holds no text" in typed("redact", "--yes", said="", status=2).stderr
    assert "does not hold this text" in typed("redact", "--yes", said=SECRET, status=3).stderr


def test_a_text_that_is_no_utf_8_is_refused_and_not_shown(log: Log, tmp_path: Path) -> None:
    said(log, "Dear Zoë!")
    for errors in ("strict", "surrogateescape"):
        done = subprocess.run(
            [sys.executable, "-m", "loopwright", "redact", "--yes"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": f"utf-8:{errors}"},
            input="Zoë".encode("latin-1"),
            capture_output=True,
        )
        assert done.returncode == 2
        assert b"the standard input is no UTF-8: give the text so" in done.stderr
        assert b"Zo" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("encoding", "mark"), [("cp1252", b""), ("ascii", b"\xef\xbb\xbf"), ("utf-8", b"\xef\xbb\xbf")]
)
def test_a_text_is_read_as_utf_8(log: Log, tmp_path: Path, encoding: str, mark: bytes) -> None:
    """Whatever the locale says, and with a byte order mark, too."""
    said(log, "Dear Zoë,\ngood day!")
    done = subprocess.run(
        [sys.executable, "-m", "loopwright", "redact", "--dry-run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        input=mark + "Zoë,\ngood day!\n".encode(),
        capture_output=True,
    )
    assert done.returncode == 0
    assert b"Would remove a text of 14 characters" in done.stdout


def test_a_text_that_stands_in_no_event_is_removed(typed: Typed, log: Log, waiting: str) -> None:
    log.answer(waiting, "approve", note=f"Call {SECRET}.")
    assert "places 1" in typed("redact", "--dry-run", said=SECRET).stdout
    assert "places 1" in typed("redact", "--yes", said=SECRET).stdout
    assert log.asked("select note from answers") == [{"note": "Call [redacted]."}]
    asked = typed("redact", "--dry-run", said=SECRET, status=3)
    assert "does not hold this text" in asked.stderr


def test_to_do_the_same_again_removes_what_a_reader_kept(typed: Typed, log: Log) -> None:
    said(log, f"Dear {SECRET}!")
    files = Path(log.path).parent
    with closing(sqlite3.connect(log.path)) as reader:
        reader.execute("begin")
        reader.execute("select count(*) from events").fetchone()
        log.connection.execute("pragma busy_timeout = 50")
        with pytest.raises(LogError, match="do the same again"):
            redact(log, SECRET)
        reader.rollback()
        assert any(SECRET.encode() in path.read_bytes() for path in files.glob("runs.db*"))
        words = "does not hold this text, and was written anew"
        assert words in typed("redact", "--yes", said=SECRET, status=3).stderr
        assert not any(SECRET.encode() in path.read_bytes() for path in files.glob("runs.db*"))


@pytest.mark.parametrize("words", ["runs", "show last", "board --save x.html", "tail", "pending"])
def test_who_looks_makes_no_log_of_an_empty_file(typed: Typed, tmp_path: Path, words: str) -> None:
    path = tmp_path / "runs.db"
    path.touch(0o644)
    said = typed(*words.split(), status=3).stderr
    assert "runs.db is empty, and holds no log: name one with --log FILE" in said
    assert not path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_log_is_sent_to_check(typed: Typed, log: Log, done: str) -> None:
    log.close()
    path = Path(log.path)
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * 1000 + whole[1100:])
    for words in (["runs"], ["show", done], ["pending"]):
        assert "`loopwright check` shows what is whole" in typed(*words, status=1).stderr
    assert "malformed" in typed("check", status=1).stdout


def test_a_file_that_is_no_log(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_text("not a database, but some text of a certain length " * 20)
    for words in (["runs"], ["tail"], ["export"], ["check"]):
        assert typed(*words, status=1).output


@pytest.mark.parametrize("words", [["datasette-metadata"], ["datasette-metadata", "--json"]])
def test_the_metadata_of_datasette(typed: Typed, words: list[str]) -> None:
    assert data(typed(*words))["databases"]
