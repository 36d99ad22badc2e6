"""Four agents on a small repository: a planner, a coder, a reviewer and a tester.

    uv run examples/four_roles.py

Who may hand off to whom stands in a table. The coder's files are real, and so are the tests that
the tester runs: `done` counts only if they passed. With ANTHROPIC_API_KEY or OPENAI_API_KEY set,
the models are real, too. Without a key it rehearses: a server on this machine plays the models.
"""

import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loopwright import Loop, Run, Task
from loopwright.calls import ToolResult
from loopwright.models.rehearsal import CallTool, Rehearsal, SeenRequest
from loopwright.policies import Budget, Retry
from loopwright.tools import HandOff, Limits, Team, Tool, delegate, files, shell

TESTS = """\
import unittest

from slugs import slugify


class Slugs(unittest.TestCase):
    def test_words(self):
        self.assertEqual(slugify("Hello World"), "hello-world")

    def test_signs(self):
        self.assertEqual(slugify("Rock & Roll!"), "rock-roll")

    def test_accents(self):
        self.assertEqual(slugify("Crème brûlée"), "creme-brulee")
"""

EDGES = {
    "planner": ["coder"],
    "coder": ["reviewer"],
    "reviewer": ["tester", "coder"],
    "tester": ["done", "coder"],
}

ROLES = {
    "planner": "Read the tests, and say in a few lines what is to be written. Write nothing.",
    "coder": "Write or edit slugs.py as you were told. Leave the tests alone.",
    "reviewer": "Read slugs.py, and say what is wrong with it; if nothing is, let it be tested.",
    "tester": "Run the tests. If they fail, say which, and why; if they pass, it is done.",
}

MODELS = {"ANTHROPIC_API_KEY": "anthropic:claude-haiku-4-5", "OPENAI_API_KEY": "openai:gpt-6-luna"}


def really_tested(said: HandOff, run: Run) -> str | None:
    """Whoever says `done` has run the tests last of all, and they passed."""
    results = [b for m in run.messages for b in m.blocks if isinstance(b, ToolResult)]
    passed = [not b.error and json.loads(b.content)["exit_code"] == 0 for b in results][-1:]
    return "The tests have not passed." if said.to == "done" and passed != [True] else None


def crew(model: str, repository: Path) -> Team:
    """The team; each agent has the tools that it needs, and no more."""
    limits = Limits(seconds=30, network=True)  # to cut off the network takes Linux
    plain = {"PYTHONDONTWRITEBYTECODE": "1"}
    tools: dict[str, list[Tool]] = {
        "planner": files(repository),
        "coder": files(repository, write=True),
        "reviewer": files(repository),
        "tester": [
            shell(["python3 -m unittest"], folder=repository, limits=limits, variables=plain)
        ],
    }
    tasks = [
        Task(
            f"{{message}}\n\n{role}",
            name=name,
            output=HandOff,
            tools=tools[name],
            checks=[really_tested] if name == "tester" else [],
        )
        for name, role in ROLES.items()
    ]
    loop = Loop(model, policies=[Retry(times=2)])
    return Team([delegate(task, loop, usd="0.20") for task in tasks], EDGES, rounds=12)


def main() -> None:
    with ExitStack() as stack:
        if not any(os.environ.get(key) for key in MODELS):
            print(
                "No key is set, so this is a rehearsal: a server on this machine plays the models."
            )
            os.environ |= stack.enter_context(Rehearsal(rehearsed())).environment
        repository = Path(stack.enter_context(TemporaryDirectory()))
        (repository / "test_slugs.py").write_text(TESTS)
        team = crew(next(MODELS[key] for key in MODELS if os.environ.get(key)), repository)
        loop = team.loop(policies=[Budget(usd=2, seconds=600)], log="runs.db", watch=True)
        run = loop.run_now(team.task("Write the module slugs.py, so that test_slugs.py passes."))
        print(f"\n{run.outcome}: {run.output or run.why}")
        print(f"{run.cost} USD, run {run.run_id} in runs.db")
        for path in repository.glob("slugs.py"):
            print(f"\n{path.read_text()}")
    sys.exit(run.outcome != "accepted")


# --------------------------------------------------------------------------- the rehearsal

SPLIT = """\
def slugify(title: str) -> str:
    return "-".join(title.lower().split())
"""

WORDS = """\
import re


def slugify(title: str) -> str:
    return "-".join(re.findall("[a-z0-9]+", title.lower()))
"""

PLAIN = """\
import re
from unicodedata import normalize


def slugify(title: str) -> str:
    plain = normalize("NFKD", title).encode("ascii", "ignore").decode()
    return "-".join(re.findall("[a-z0-9]+", plain.lower()))
"""


def to(name: str, message: str) -> dict[str, str]:
    return {"to": name, "message": message}


def written(text: str) -> CallTool:
    return CallTool("write_file", {"path": "slugs.py", "text": text})


READ = CallTool("read_file", {"path": "slugs.py"})
TESTED = CallTool("shell", {"argv": ["python3", "-m", "unittest"]})

PARTS: dict[str, list[Any]] = {
    "planner": [
        CallTool("read_file", {"path": "test_slugs.py"}),
        to("coder", "slugify(title): lower case, no signs, no accents, hyphens between words."),
    ],
    "coder": [
        written(SPLIT),
        to("reviewer", "It splits the title at spaces."),
        written(WORDS),
        to("reviewer", "Now only letters and digits are left."),
        written(PLAIN),
        to("reviewer", "Accents are taken off first."),
    ],
    "reviewer": [
        READ,
        to("coder", "Signs stay in the slug: test_signs will fail."),
        READ,
        to("tester", "Looks good."),
        READ,
        to("tester", "Looks good, again."),
    ],
    "tester": [
        to("done", "It looks as if all tests passed."),
        TESTED,
        to("coder", "test_accents fails: an accented letter is no word by itself."),
        TESTED,
        to("done", "All 3 tests pass."),
    ],
}


def rehearsed() -> Callable[[SeenRequest], Any]:
    """What the models say: to each agent the next line of its part."""
    parts = {name: iter(lines) for name, lines in PARTS.items()}

    def said(request: SeenRequest) -> Any:
        (name,) = re.findall(r"You are the (\w+)\.", request.opening)
        return next(parts[name])

    return said


if __name__ == "__main__":
    main()
