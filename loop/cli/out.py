"""What the command line prints: text of others made visible, tables, JSON, and pages of a pager."""

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

import click

from loopwright.show.text import cut, visible, width

NARROWEST = 12
"""Columns to which a wide one is shortened at most: less says nothing."""


class BadNews(click.ClickException):
    """Ends the command with a message: it could not be done, or the answer is bad."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(clean(message))


class Refused(BadNews):
    """What was asked for cannot work."""

    exit_code = 2


class NotFound(BadNews):
    """There is no such log, run, message or question."""

    exit_code = 3


def clean(text: Any) -> str:
    """`text` without anything that would steer a terminal but line ends."""
    return "\n".join(visible(line) for line in str(text).split("\n"))


def one_line(text: Any) -> str:
    """`text` on one line, whatever it holds."""
    return clean(text).replace("\n", "\\n")


def wrapped(text: str, indent: str) -> list[str]:
    """The lines of `text`, each behind the indent; on a terminal none is wider than it is."""
    most = _columns()
    lines = clean(text).splitlines() or [""]
    return [
        piece
        for line in lines
        for piece in click.wrap_text(f"{indent}{line}", most, "", indent).split("\n")
    ]


def _columns() -> int:
    """As wide may a line be."""
    return shutil.get_terminal_size().columns if on_terminal(sys.stdout) else sys.maxsize


def on_terminal(stream: IO[str] | None) -> bool:
    """Whether somebody sits there; where a stream was closed (``>&-``), there is none."""
    return stream is not None and stream.isatty()


def say(*lines: str) -> None:
    """Print lines that are clean already."""
    for line in lines:
        click.echo(line)


def document(data: Any) -> None:
    """Print `data` as one JSON document, in printable ASCII."""
    from loopwright.log.jsonl import ascii_json

    click.echo(ascii_json(data))


def nothing(what: str, as_json: bool = False, empty: Any = ()) -> NoReturn:
    """End the command: there is none of `what`."""
    if as_json:
        document(empty)
    else:
        click.echo(what, err=True)
    click.get_current_context().exit(NotFound.exit_code)


def paged(lines: Iterable[str]) -> None:
    """Print lines; on a terminal that they do not fit on, page by page."""
    text = "\n".join(lines) + "\n"
    if on_terminal(sys.stdout) and text.count("\n") >= shutil.get_terminal_size().lines:
        click.echo_via_pager(text)
    else:
        click.echo(text, nl=False)


def report(found: Any, as_json: bool, nothing_else: str, columns: Sequence[str] = ()) -> None:
    """Print a `loopwright.report.Report`: as JSON, or these `columns` of it and its summary."""
    rows = [dict(row) for row in found.rows()]
    held = {"rows": rows, "summary": dict(found.summary)}
    if not rows:
        nothing(nothing_else, as_json, held)
    if as_json:
        document(held)
    else:
        names = columns or [name for name in rows[0] if not name.endswith("_nano")]
        shown = [{name: row[name] for name in names} for row in rows]
        paged([*table(shown), "", clean(found)])


# ---------------------------------------------------------------------------------------- tables


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as lines below their names; on a terminal not wider than it is.

    Where they do not all fit, the last columns are left out, and named.
    """
    names = list(rows[0]) if rows else []
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    sizes = [max(map(width, column)) for column in zip(names, *cells, strict=True)]
    widths = _fitted(sizes, _columns())
    right = [all(isinstance(row.get(n), int | float | None) for row in rows) for n in names]
    head = click.style(_line(names, widths, right), bold=True)
    return [head, *(_line(row, widths, right) for row in cells), *_left_out(names[len(widths) :])]


def _left_out(names: Sequence[str]) -> list[str]:
    said = f"no room for {', '.join(names)}: --json has it all"
    return wrapped(said, "") if names else []


def _cell(value: Any) -> str:
    if isinstance(value, float):
        shown = f"{value:.6g}"
        return f"{value:.9f}".rstrip("0").rstrip(".") if "e" in shown else shown
    return "" if value is None else one_line(value)


def _fitted(widths: Sequence[int], most: int) -> list[int]:
    """The widest columns give way, and then the last; never the first: it names the row."""
    fitted = list(widths)
    while sum(fitted) + 2 * len(fitted) - 2 > most:
        widest = max(range(1, len(fitted)), key=fitted.__getitem__, default=0)
        if not widest or fitted[widest] <= NARROWEST:
            return _fitted(widths[:-1], most) if len(widths) > 2 else fitted
        fitted[widest] -= 1
    return fitted


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    told = [
        " " * (size - width(cell)) + cell if to_right else cell + " " * (size - width(cell))
        for cell, size, to_right in zip(map(cut, cells, widths), widths, right, strict=False)
    ]
    return "  ".join(told).rstrip()


# ----------------------------------------------------------------------------------------- files


def saved(text: str, path: str) -> None:
    """Write a file, readable by its owner only where it is new; ``-`` is the standard output."""
    from loopwright.log.file import spared

    if path == "-":
        click.echo(text, nl=not text.endswith("\n"))
        return
    spared(path)
    placed(path)
    try:
        file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(file, "w", encoding="utf-8", errors="backslashreplace") as out:
        out.write(text)


def placed(path: str) -> None:
    """Refuse a file whose folder is not there."""
    if not (folder := Path(path).parent).exists():
        raise Refused(f"{path} cannot be written: there is no folder {folder}: make it first")


def opened(text: str, surely: bool) -> bool:
    """Show an HTML page in the browser, from a temporary file of the owner; false without one.

    Where no display is seen it is not tried, unless `surely` one is there.
    """
    import tempfile
    import webbrowser

    try:
        browser = webbrowser.get() if surely or _display() else None
    except webbrowser.Error:
        browser = None
    if browser is None:
        return False
    file, path = tempfile.mkstemp(".html", "loopwright-")
    os.close(file)
    saved(text, path)
    if browser.open(Path(path).as_uri()):
        click.echo(f"opened {path}", err=True)
        return True
    os.unlink(path)
    return False


def _display() -> bool:
    """Whether a browser of its own can appear: one in the terminal would take it over."""
    named = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, named))
