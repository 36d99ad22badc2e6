"""What the tests of the command line share: commands as they are typed, and a loop to carry on."""

from pathlib import Path
from typing import Any

import pytest
from cli.clerk import APP, Typed
from click.testing import CliRunner, Result

from loopwright import Log, Loop, Task
from loopwright.cli.group import cli
from loopwright.models import Scripted


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """A command as it is typed in a folder of its own, where the log is `runs.db`."""
    monkeypatch.chdir(tmp_path)
    for name in ("LOOPWRIGHT_LOG", "LOOPWRIGHT_APP", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str, status: int = 0, said: str | None = None) -> Result:
        result = CliRunner().invoke(cli, words, input=said)
        assert result.exit_code == status, (words, result.output, result.exception)
        return result

    return run


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The clerk's code."""
    path = tmp_path / "clerk.py"
    path.write_text(APP)
    return path


@pytest.fixture
def waiting(app: Path, log: Log) -> str:
    """A run of the clerk's that waits for a person."""
    module: dict[str, Any] = {"__file__": str(app), "__name__": "clerk"}
    exec(APP, module)
    return str(module["loop"].run_now(module["task"], letter="My cup is broken.").run_id)


@pytest.fixture
def done(log: Log) -> str:
    """A run that is over."""
    return Loop(Scripted(["Hello Ada."]), log=log).run_now(Task("Greet Ada.", name="greet")).run_id
