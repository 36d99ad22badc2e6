"""The house: which module may import which, what an import costs, and how long the loop is."""

import ast
import re
import runpy
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import loopwright

ROOT = Path(__file__).parent.parent
FOLDERS = {"loop": "loopwright", "policies": "loopwright.policies", "tools": "loopwright.tools"}


def modules() -> dict[str, Path]:
    """Every module of the library by the name under which it is imported."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


MODULES = modules()


def imported(path: Path, everywhere: bool = True) -> set[str]:
    """The modules that a file imports, everywhere in it or when it is loaded."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else tree.body
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inner & MODULES.keys()) or {node.module or ""}
    return names


def test_the_packages_are_those_of_the_tree() -> None:
    said = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {name.rpartition(".")[0] for name in MODULES if MODULES[name].stem != "__init__"}
    assert set(said) == folders


def test_nothing_else_stands_at_the_top() -> None:
    allowed = {*FOLDERS, "tests", "examples", "pyproject.toml", "README.md", "LICENSE"}
    allowed |= {"CHANGELOG.md", "CONTRIBUTING.md", "uv.lock", "build", "loopwright.egg-info"}
    here = {
        path.name
        for path in ROOT.iterdir()
        if not path.name.startswith(".") and ".db" not in path.name  # what the examples leave
    }
    assert here <= allowed


@pytest.mark.parametrize("name", MODULES)
def test_the_direction_of_imports(name: str) -> None:
    names = imported(MODULES[name])
    own = name.split(".")[1] if name.split(".")[1:2] in (["policies"], ["tools"]) else ""
    for other in {"policies", "tools"} - {own}:
        assert not any(n.startswith(f"loopwright.{other}") for n in names), names
    assert not names & {"loop", "policies", "tools"}
    for heavy in ("anthropic", "openai", "httpx", "httpx2", "pydantic", "genai_prices"):
        loaded = {n.split(".")[0] for n in imported(MODULES[name], everywhere=False)}
        assert heavy not in loaded or name in HEAVY, heavy


HEAVY = {"loopwright.models.sdk", "loopwright.models.anthropic", "loopwright.models.openai"}
"""Modules that are loaded only when a provider is made."""


def test_there_is_no_cycle_of_imports() -> None:
    graph = {
        name: imported(path, everywhere=False) & MODULES.keys() - {name}
        for name, path in MODULES.items()
    }
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("loopwright.loop") > order.index("loopwright.decide")


def test_the_loop_is_one_function_on_one_screen() -> None:
    source = (ROOT / "loop" / "loop.py").read_text()
    assert "asyncio" not in source
    (function,) = [n for n in ast.parse(source).body if isinstance(n, ast.AsyncFunctionDef)]
    assert function.end_lineno is not None
    assert function.end_lineno - function.lineno < 20
    assert not [node for node in ast.walk(function) if isinstance(node, ast.If)]


def test_it_is_the_only_loop() -> None:
    """Nobody else asks the port for outcomes, or decides."""
    for name, path in MODULES.items():
        calls = {
            node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
        }
        if name != "loopwright.loop":
            assert "outcomes" not in calls, name
            assert (
                name == "loopwright.policy"
                or name == "loopwright.decide"
                or ("consult" not in calls)
            ), name


FORBIDDEN = {"pickle", "marshal", "shelve", "yaml"}


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_revived_or_evaluated(name: str) -> None:
    allowed = {"yaml"} if name == "loopwright.policies.marked" else set()  # scans and composes only
    forbidden = FORBIDDEN - allowed
    assert not {module.split(".")[0] for module in imported(MODULES[name])} & forbidden
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = node.func.id
            assert called not in ("eval", "__import__")
            # of the names of our own fields, as attrs does it
            assert called != "exec" or name == "loopwright.compiled"


def loaded(statement: str) -> set[str]:
    script = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("bench", sorted((ROOT / "tests" / "benchmarks").glob("bench_*.py")))
def test_the_benchmarks_load(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are run by a command of their own, and would break unseen."""
    monkeypatch.syspath_prepend(str(bench.parent))
    runpy.run_path(str(bench))


def test_importing_loads_no_sdk() -> None:
    heavy = {"anthropic", "openai", "httpx", "httpx2", "pydantic", "pydantic_core", "genai_prices"}
    heavy |= {"sqlite_utils", "docstring_parser", "pandas", "IPython", "mcp", "jsonschema"}
    assert not loaded("import loopwright") & heavy
    assert not loaded("import loopwright.policies, loopwright.tools, loopwright.models") & heavy
    assert not loaded("from loopwright import Loop, Log, Task") & heavy


def test_functions_are_small() -> None:
    """The median function is under ten lines, and no file is too long to read in one sitting."""
    lengths = []
    for path in MODULES.values():
        source = path.read_text()
        assert source.count("\n") < 480, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                end = node.end_lineno or node.lineno
                docs = ast.get_docstring(node, clean=False) or ""
                lengths.append(end - node.lineno + 1 - len(docs.splitlines()))
    assert sorted(lengths)[len(lengths) // 2] < 10


def test_statements_have_no_numbered_places() -> None:
    """From Python 3.14 on sqlite3 takes no tuple for them."""
    for name in ("loop", "policies", "tools"):
        for path in (ROOT / name).rglob("*.*"):
            if path.suffix in (".py", ".sql"):
                assert not re.search(r"[ (=]\?[0-9]", path.read_text("utf-8")), path


def test_public_names() -> None:
    for name in loopwright.__all__:
        assert getattr(loopwright, name)
    assert list(loopwright.__all__) == sorted(loopwright.__all__)
    with pytest.raises(AttributeError):
        _ = loopwright.Agent  # type: ignore[attr-defined]
