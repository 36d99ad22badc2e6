"""Commands that carry runs on with the user's own code."""

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cli.clerk import Typed, data

from loopwright import Log, Loop
from loopwright.cli.app import loaded


def approved(typed: Typed) -> None:
    (held,) = data(typed("pending", "--json"))
    typed("approve", held["run"], held["question"])


def test_an_approved_run_is_resumed(typed: Typed, waiting: str, app: Path) -> None:
    assert data(typed("resume", waiting, "--app", "clerk.py", "--json", status=1))["outcome"] == (
        "waiting"
    )
    approved(typed)
    assert "Dear customer: 40.0 euros" in typed("resume", "last", "--app", "clerk.py").stdout
    assert (app.parent / "paid").read_text() == "A-17 40.0\n"
    typed("resume", "last", "--app", "clerk.py")
    assert (app.parent / "paid").read_text() == "A-17 40.0\n"


def test_the_app_may_be_a_module_and_stand_in_the_environment(
    typed: Typed, waiting: str, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.rename(app.with_name("clerk_module.py"))
    monkeypatch.setenv("LOOPWRIGHT_APP", "clerk_module:loop:task")
    approved(typed)
    typed("resume", waiting)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nobody.py", "there is no file nobody.py"),
        ("no_such_module", "there is no module 'no_such_module'"),
        ("clerk.py:mine", "clerk has no 'mine': name the Loop"),
        ("clerk.py:other", "clerk:other is a str, and no Loop"),
        ("clerk.py:loop:other", "clerk:other is a str, and no Task"),
        ("clerk.py:loop:mine", "clerk.py has no 'mine': name the Task"),
        ("broken.py", "broken.py cannot be loaded: RuntimeError: no"),
    ],
)
def test_what_is_missing_is_said(typed: Typed, waiting: str, spec: str, said: str) -> None:
    Path("broken.py").write_text("raise RuntimeError('no')\n")
    assert said in typed("resume", waiting, "--app", spec, status=2).stderr
    assert "--app" in typed("resume", waiting, status=2).stderr


def test_the_log_that_is_named_is_the_one_that_is_used(
    typed: Typed, waiting: str, app: Path
) -> None:
    Log(app.parent / "other.db").close()
    words = ("resume", waiting, "--app", "clerk.py", "--log", "other.db")
    assert "other.db holds no run" in typed(*words, status=3).stderr
    assert isinstance(loaded("clerk.py").on("other.db").loop, Loop)


def test_a_loop_without_a_log_uses_that_of_the_folder(typed: Typed, waiting: str) -> None:
    text = Path("clerk.py").read_text().replace('Path(__file__).with_name("runs.db")', "None")
    Path("bare.py").write_text(text)
    approved(typed)
    typed("resume", waiting, "--app", "bare.py")


def test_a_run_is_cancelled_once_it_is_agreed(typed: Typed, log: Log, waiting: str) -> None:
    pytest.importorskip("loopwright.diff")
    assert "Would cancel run" in typed("cancel", waiting, "--dry-run").stdout
    assert data(typed("cancel", waiting, "--dry-run", "--json"))["dry_run"] is True
    assert "add --yes" in typed("cancel", waiting, status=2).stderr
    assert log.run(waiting).outcome == "waiting"
    held = data(typed("cancel", waiting, "--yes", "--why", "a wrong letter", "--json"))
    assert (held["outcome"], "a wrong letter" in held["why"]) == ("cancelled", True)
    for agreed in ("--yes", "--dry-run"):
        assert typed("cancel", waiting, agreed, status=2).stderr.startswith("Error: run ")


def test_a_fork_goes_on_in_another_way(typed: Typed, log: Log, waiting: str, app: Path) -> None:
    pytest.importorskip("loopwright.forks")
    words = ("fork", waiting, "--at", "2", "--app", "clerk.py", "--answer", "approve", "--json")
    held = data(typed(*words))
    assert held["run"] != waiting
    assert held["outcome"] == "accepted"
    assert log.run(waiting).outcome == "waiting"
    assert (app.parent / "paid").read_text() == "A-17 40.0\n"
    assert typed("fork", waiting, "--at", "99", "--app", "clerk.py", status=2).stdout == ""


def test_what_if(typed: Typed, waiting: str) -> None:
    text = Path("clerk.py").read_text().replace('policies=[Approve("refund")]', "policies=[]")
    Path("free.py").write_text(text)
    (same,) = data(typed("whatif", "--app", "clerk.py", "--json"))["rows"]
    (other,) = data(typed("whatif", "--app", "free.py", "--json"))["rows"]
    assert (same["decision"], same["would_be"]) == (None, "waiting")
    assert other["recorded_policy"] == "Approve"
    assert "nobody objects" in typed("whatif", "--app", "free.py").stdout
    typed("whatif", "--app", "free.py", "--task", "other", status=3)


def test_lint(typed: Typed, app: Path) -> None:
    assert "at most 0 USD" in typed("lint", "--app", "clerk.py", "--input", "letter=x").stdout
    held = data(typed("lint", "--app", "clerk.py", "--json"))
    assert held["worst"]["model_calls"] == 25
    assert "NAME=TEXT" in typed("lint", "--app", "clerk.py", "--input", "x", status=2).stderr


def test_a_policy_that_cannot_work_is_an_error(typed: Typed, app: Path) -> None:
    strict = app.read_text().replace('[Approve("refund")]', "[Budget(usd=0.000001)]")
    strict = strict.replace("import Loop, Task", "import Budget, Loop, Task")
    strict += 'from loopwright.models import set_price\nset_price("scripted:scripted", 9, 9)\n'
    app.write_text(strict)
    held = data(typed("lint", "--app", "clerk.py", "--json", status=1))
    assert {found["level"] for found in held["findings"]} >= {"error"}
    assert "not even the first call" in typed("lint", "--app", "clerk.py", status=1).stdout


def test_a_test_is_written(typed: Typed, waiting: str) -> None:
    pytest.importorskip("loopwright.regression")
    missing = typed("export-test", waiting, "--app", "clerk.py:mine", status=2).stderr
    assert "clerk has no 'mine': name the Loop" in missing
    text = typed("export-test", waiting, "--app", "clerk.py").stdout
    compile(text, "test_clerk.py", "exec")
    assert data(typed("export-test", waiting, "--app", "clerk.py", "--json"))["test"] == text
    typed("export-test", waiting, "--app", "clerk.py", "--save", "test_clerk.py")
    typed("export-test", waiting, "--app", "clerk.py", "--save", "test_clerk.py")
    assert Path("test_clerk.py").read_text() == text


def test_a_test_is_written_over_nothing_else(typed: Typed, waiting: str, log: Log) -> None:
    for path in (Path("clerk.py"), Path(log.path)):
        before = path.read_bytes()
        words = ("export-test", waiting, "--app", "clerk.py", "--save", str(path))
        assert ": choose another " in typed(*words, status=2).stderr
        assert path.read_bytes() == before


def test_an_exported_test_passes_and_notices_a_change(
    typed: Typed, waiting: str, app: Path
) -> None:
    """In a pytest of its own."""
    typed("export-test", waiting, "--app", "clerk.py", "--save", "test_clerk.py")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_clerk.py"]
    assert subprocess.run(words, cwd=app.parent, capture_output=True).returncode == 0
    app.write_text(app.read_text().replace('Approve("refund")', 'Approve("other")'))
    assert subprocess.run(words, cwd=app.parent, capture_output=True).returncode == 1


class Collector(BaseHTTPRequestHandler):
    """Accepts everything, and keeps what came."""

    came: ClassVar[list[tuple[str, Any, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.came.append((self.path, self.headers.get("api-key"), body))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing to say."""


def test_spans_are_sent_once(typed: Typed, done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=from-the-environment")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    words = ("export-otlp", "--endpoint", f"http://127.0.0.1:{server.server_port}")
    first, again = data(typed(*words, "--json")), typed(*words).stdout
    assert "is tried again for a minute" in typed(*words).stderr
    server.shutdown()
    thread.join()
    server.server_close()
    assert (first["spans"], first["runs"]) == (2, 1)
    assert again == "0 spans of 0 runs were sent\n"
    assert [(path, key) for path, key, _ in Collector.came] == [
        ("/v1/traces", "from-the-environment")
    ]
