"""Every example is executed as a user would: in a fresh folder, an empty home, without keys."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from loopwright.models.rehearsal import Rehearsal

EXAMPLES = Path(__file__).parent.parent / "examples"


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not re.search("KEY|TOKEN|BASE_URL", k)}
    return {**kept, "HOME": str(home), "PYTHONWARNINGS": "error", **more}


def run(script: str, *args: str, home: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, EXAMPLES / script, *args],
        cwd=home,
        env=environment(home, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(path)
    found = database.execute(query).fetchall()
    database.close()
    return found


def shown(home: Path, done: "subprocess.CompletedProcess[str]") -> None:
    """What the first run promises to show."""
    assert done.returncode == 0, done.stderr
    assert "accepted: Promotion(headline=" in done.stdout
    assert "Shanghai" in done.stdout
    log = home / "runs.db"
    decided = rows(log, "select policy, decision, why from decisions order by seq")
    assert [row[:2] for row in decided] == [
        ("Retry", "TryAgain"),
        ("Retry", "TryAgain"),
        ("Escalate", "Switch"),
        ("Otherwise", "Accept"),
    ]
    assert all(why for _, _, why in decided)
    assert rows(log, "select tool, state from tool_calls") == [("weather", "returned")]
    assert rows(log, "select failure from model_calls where failure not null") == [
        ("rate_limited",)
    ]
    assert rows(log, "select outcome, verified from runs") == [("accepted", 1)]
    assert len(rows(log, "select * from problems")) == 2
    lines = [line for line in done.stderr.splitlines() if re.match(r" +\d+  ", line)]
    assert len(lines) == rows(log, "select max(step) from steps")[0][0]


def test_first_run_rehearses_without_a_key(tmp_path: Path) -> None:
    done = run("first_run.py", home=tmp_path)
    assert done.stdout.startswith("No key is set, so this is a rehearsal")
    shown(tmp_path, done)


@pytest.mark.parametrize("provider", ["ANTHROPIC", "OPENAI"])
def test_first_run_with_a_key_calls_the_real_provider(tmp_path: Path, provider: str) -> None:
    with Rehearsal() as rehearsal:
        variables = {k: v for k, v in rehearsal.environment.items() if k.startswith(provider)}
        assert len(variables) == 2
        done = run("first_run.py", home=tmp_path, **variables)
        assert len(rehearsal.requests) == 5
    assert "rehearsal" not in done.stdout
    shown(tmp_path, done)


@pytest.mark.parametrize(("said", "told"), [("approve", "were paid back"), ("deny", "Too much.")])
def test_approve_waits_and_is_carried_on_by_another_process(
    tmp_path: Path, said: str, told: str
) -> None:
    first = run("approve.py", home=tmp_path)
    assert "The run waits." in first.stdout
    assert "the tool runs" not in first.stdout
    (run_id,) = re.findall(r"approve\.py approve (\w+)", first.stdout)
    second = run("approve.py", said, run_id, "Too much.", home=tmp_path)
    assert second.returncode == 0, second.stderr
    assert ("the tool runs" in second.stdout) == (said == "approve")
    assert told in second.stdout.splitlines()[-1]


def test_the_notebook_runs_and_shows_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=60, kernel_name="python3")
    client.execute(cwd=str(tmp_path))
    tables = [
        output["data"]["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
    ]
    run, step, watched, runs, spent, differ, what_if, costs, forecast = tables
    assert "accepted</b> (verified)" in run
    assert "Escalate: Switch" in run
    assert "<ins>" in run
    assert "problem: Name the city in the body." in step
    assert "accepted</b> (verified)" in watched
    assert "failed 1" in runs
    assert "anthropic:claude-opus-5-5" in spent
    assert "Retry" in differ
    assert "would_<wbr>be" in what_if
    assert "always_<wbr>strong_<wbr>usd" in costs
    assert "at most 0.5 USD" in forecast
    said = "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))
    assert "failed the policy Broken raised AttributeError" in said
    assert "every umbrella costs a third less" in said


def test_the_notebook_is_kept_without_output() -> None:
    """Outputs in the repository would be what somebody saw once."""
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)
