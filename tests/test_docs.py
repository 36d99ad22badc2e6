"""What is written is what happens: every example in the docs is executed."""

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import sqlite3
import types
from pathlib import Path

import pytest

import loopwright
import loopwright.policies
import loopwright.tools
from loopwright.log.columns import COLUMNS
from loopwright.models.rehearsal import Rehearsal

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MODULES = sorted(
    {"loopwright"}
    | {
        module.name
        for module in pkgutil.walk_packages(loopwright.__path__, "loopwright.")
        if not module.name.endswith("__main__")
    }
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert found.failed == 0
    assert module.__doc__


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_readme_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, said, query, answered, *_ = re.findall(
        r"^```(?:python|text|)\n(.*?)^```", README.split("The example, in short:")[1], re.S | re.M
    )
    assert said in README
    module = types.ModuleType("readme")
    with Rehearsal() as rehearsal:
        for variable, value in rehearsal.environment.items():
            monkeypatch.setenv(variable, value)
        exec(compile(first, "README.md", "exec"), module.__dict__)
        assert capsys.readouterr().out == said
        assert sql("runs.db", re.findall('"(.*)"', query)[0]) == answered
        for block in blocks("python")[1:]:
            exec(compile(block, "README.md", "exec"), module.__dict__)
        assert capsys.readouterr().out == "".join(blocks("text")[2:])
        assert [run.outcome for run in module.__dict__["runs"]] == ["accepted"] * 2


def sql(path: str, query: str) -> str:
    """What the command `sqlite3` prints."""
    database = sqlite3.connect(path)
    rows = database.execute(query).fetchall()
    database.close()
    return "".join("|".join(map(str, row)) + "\n" for row in rows)


def test_the_commands_of_the_readme_are_those_that_are_run() -> None:
    commands = [line for block in blocks("") for line in block.splitlines()]
    assert "pip install uv && uv run examples/first_run.py" in commands
    assert "pip install uv && uv run pytest" in commands
    script = (ROOT / ".ci" / "run").read_text()
    assert all(f"'{command}'" in script for command in commands if command.startswith("pip"))


PUBLIC = [
    (module, name)
    for module in (loopwright, loopwright.policies, loopwright.tools, loopwright.models)
    for name in module.__all__
]


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_every_public_name_is_documented(module: types.ModuleType, name: str) -> None:
    thing = getattr(module, name)
    if isinstance(thing, float):
        return
    assert inspect.getdoc(thing), name
    for part, method in vars(thing).items() if inspect.isclass(thing) else ():
        if not part.startswith("_") and inspect.isfunction(method):
            assert inspect.getdoc(getattr(thing, part)), f"{name}.{part}"


def row(name: str) -> str:
    """What the README's table says of a policy: the first words of its docstring."""
    first, *_ = (inspect.getdoc(getattr(loopwright.policies, name)) or "").split("\n\n")
    return f"| `{name}` | {' '.join(first.split())} |"


def test_the_readme_names_every_policy_and_view() -> None:
    named = set(loopwright.policies.__all__) - {"Policies", "Policy", "unlimited"}
    table = [row(name) for name in sorted(named)]
    assert "\n".join(table) in README, "the table of policies should be: " + "\n".join(table)
    for view in COLUMNS:
        assert f"| `{view}` |" in README, view


def test_the_project_speaks_of_itself_alone() -> None:
    """No path of a machine stands in what is kept."""
    for folder, _, names in os.walk(ROOT):
        if re.search(
            r"/(\.git|\.venv|build|[^/]*egg-info|\.[a-z_]*cache|\.hypothesis)(/|$)", folder
        ):
            continue
        for name in names:
            path = Path(folder, name)
            if path.suffix in (".py", ".md", ".toml", ".sql", ".yml", ".ipynb"):
                assert not re.search(r"/(home|root|Users)/\w", path.read_text()), path
