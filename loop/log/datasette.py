"""A log in Datasette: what its views and columns mean, and the cookbook's questions."""

import re
from importlib.resources import files
from typing import Any

from loopwright.errors import BadInput
from loopwright.log.columns import COLUMNS

_HIDDEN = [
    "events",
    "parts",
    "answers",
    "balances",
    "kept",
    "run_totals",
    "spend_totals",
    "unsummed",
    "exported",
    "said",
    "searched",
    "passes",
    "stepped",
    "tops",
    "unsummed_runs",
    "unsummed_spend",
]
"""Tables and views that others are made of: Datasette shows them when they are asked for."""

_VIEW = re.compile(r"((?:^-- .+\n)+)create view (\w+) as", re.MULTILINE)
_QUESTION = re.compile(r"^-- (.+)\n((?:[^-\n].*\n)+)", re.MULTILINE)


def metadata(database: str = "runs") -> dict[str, Any]:
    """Metadata for Datasette: every view and column in words, and the cookbook's questions.

    `database` is the name that Datasette gives the file: that of the file without ``.db``. Raises
    `BadInput` without a name.

    >>> told = metadata("shop")["databases"]["shop"]
    >>> told["tables"]["problems"]["description"]
    'What each check found wrong with an answer (`problem`), or could not tell (`undecided`).'
    >>> told["queries"]["what_did_we_spend_each_day"]["title"]
    'What did we spend each day?'
    """
    if not database:
        raise BadInput("name the database as Datasette does: the log's file name without '.db'")
    tables: dict[str, Any] = {name: {"hidden": True} for name in _HIDDEN}
    said = {"whatif": "What other policies would have done with the runs.", **views()}
    for view, columns in COLUMNS.items():
        tables[view] = {"description": said[view], "columns": columns}
    queries = {_slug(title): {"title": title, "sql": sql} for title, sql in questions().items()}
    return {
        "title": "Runs of loopwright",
        "databases": {database: {"tables": tables, "queries": queries}},
    }


def views() -> dict[str, str]:
    """What each view says, in words, by its name."""
    found = _VIEW.findall(_text("views.sql"))
    return {name: " ".join(re.findall(r"^-- (.+)", words, re.M)) for words, name in found}


def questions() -> dict[str, str]:
    """The questions of the cookbook, and their SQL, with ``:since`` and ``:run`` to be filled in.

    >>> print(questions()["What did we spend each day?"].splitlines()[-1])
    from spend where day >= :since group by day
    """
    found = _QUESTION.findall(_text("cookbook.sql"))
    return {title: sql.strip().rstrip(";") for title, sql in found if sql.strip()}


def _slug(title: str) -> str:
    return re.sub(r"\W+", "_", title.lower()).strip("_")


def _text(name: str) -> str:
    return (files("loopwright.log") / name).read_text("utf-8")
