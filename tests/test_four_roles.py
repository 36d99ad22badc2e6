"""The four roles on a small repository: executed as a user would, with and without a key."""

import json
import runpy
import subprocess
from pathlib import Path

from test_examples import EXAMPLES, rows, run

from loopwright.models.rehearsal import Rehearsal

ROLES = ["planner", "coder", "reviewer", "coder", "reviewer", "tester"]
ROLES += ["coder", "reviewer", "tester"]


def shown(home: Path, done: "subprocess.CompletedProcess[str]") -> None:
    """The work goes along the table, the tests are run, and what was written passes them."""
    assert done.returncode == 0, done.stderr
    assert "accepted: All 3 tests pass." in done.stdout
    log = home / "runs.db"
    (team,) = rows(log, "select run from runs where instr(run, '.') = 0")[0]
    called = "select tool from tool_calls where run = ? order by seq".replace("?", f"'{team}'")
    assert [tool for (tool,) in rows(log, called)] == ROLES
    tested = rows(log, "select result from tool_calls where tool = 'shell' order by time")
    results = [json.loads(str(result)) for (result,) in tested]
    assert [result["exit_code"] for result in results] == [1, 0]
    assert "FAIL: test_accents" in results[0]["stderr"]
    assert "Ran 3 tests" in results[1]["stderr"]
    again = "select why from decisions where policy = 'Retry'"
    (why,) = rows(log, again)
    assert str(why[0]).endswith("The tests have not passed.")
    slugs = home / "slugs.py"
    slugs.write_text(done.stdout.split("in runs.db\n")[1])
    assert runpy.run_path(str(slugs))["slugify"]("Ça va?") == "ca-va"


def test_the_four_roles_rehearse_without_a_key(tmp_path: Path) -> None:
    done = run("four_roles.py", home=tmp_path)
    assert done.stdout.startswith("No key is set, so this is a rehearsal")
    shown(tmp_path, done)


def test_with_a_key_they_call_the_real_provider(tmp_path: Path) -> None:
    rehearsed = runpy.run_path(str(EXAMPLES / "four_roles.py"))["rehearsed"]
    with Rehearsal(rehearsed()) as rehearsal:
        keys = {k: v for k, v in rehearsal.environment.items() if k.startswith("OPENAI")}
        done = run("four_roles.py", home=tmp_path, **keys)
        assert {request.wire for request in rehearsal.requests} == {"openai"}
    assert "rehearsal" not in done.stdout
    shown(tmp_path, done)
