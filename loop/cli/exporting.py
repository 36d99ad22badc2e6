"""Commands that write something out: export, export-otlp, export-test, board and completion."""

import os
from typing import Any

import click
from attrs import asdict

from loopwright.cli import out
from loopwright.cli.app import loaded
from loopwright.cli.options import (
    FILE,
    common,
    json_option,
    logged,
    named,
    run_argument,
    save_option,
    since_option,
)


@click.command()
@common
@run_argument(required=False)
@save_option
def export(path: str | None, as_json: bool, run: str | None, save: str | None) -> None:
    """Write every event as one JSON line, without loss.

    Of one run, or of all runs of the log.
    Its keys are the columns of the table events: run, seq, type, time, call, data.

    \b
    Example: loopwright export last | jq -c 'select(.type == "Decided") | .data'
    """
    from loopwright.log.jsonl import lines

    log = logged(path)
    told = lines(log, named(log, run) if run else None)
    if save:
        out.saved("".join(f"{line}\n" for line in told), save)
        return
    for line in told:
        out.say(line)


@click.command("export-test")
@common
@run_argument()
@click.option(
    "--app",
    type=FILE,
    metavar="APP",
    envvar="LOOPWRIGHT_APP",
    show_envvar=True,
    required=True,
    help="What the test imports: FILE_OR_MODULE[:LOOP[:TASK]].",
)
@save_option
def export_test(path: str | None, as_json: bool, run: str, app: str, save: str | None) -> None:
    """Write a test that replays a run against your own code.

    It is a pytest file, with your own loop and task.
    It holds what models and tools said then. It passes at once, and fails when a change of a
    policy or a prompt alters a decision. Nothing is called. A long recording is saved beside it.

    \b
    Example: loopwright export-test last --app shop.py --save tests/test_letter.py
    """
    from loopwright.regression import export_test as written
    from loopwright.regression import save_test

    log = logged(path)
    run = named(log, run)
    _ = loaded(
        app, calling=False
    ).task  # what the test could not import is refused now, and not by the test
    to_file = save not in (None, "-")
    if to_file:
        out.placed(str(save))
    text = None if to_file else written(log, run, app=app)
    saved = save_test(log, run, str(save), app=app) if to_file else ()
    if as_json:
        out.document({"run": run, "saved": list(map(str, saved)), "test": text})
    elif text:
        out.say(out.clean(text.removesuffix("\n")))


@click.command("export-otlp")
@common
@run_argument(required=False)
@click.option(
    "--endpoint",
    metavar="URL",
    envvar="OTEL_EXPORTER_OTLP_ENDPOINT",
    show_envvar=True,
    required=True,
    help="Where to, without /v1/traces.",
)
@click.option(
    "--content",
    type=click.Choice(["reasons", "all"]),
    help="With the reasons of policies and checks, or with all that was said; without it neither.",
)
@click.option("--protobuf", is_flag=True, help="Not as JSON; needs the extra loopwright[otlp].")
@click.option("--again", is_flag=True, help="Also what the endpoint has accepted already.")
@click.option("--follow", is_flag=True, help="Go on with what is appended, until interrupted.")
def export_otlp(
    path: str | None, as_json: bool, run: str | None, endpoint: str, follow: bool, **how: Any
) -> None:
    """Send runs as OpenTelemetry spans to an endpoint.

    They go to this OTLP/HTTP endpoint, and nothing goes to anybody else: only what it has not
    accepted yet. Headers, such as a key, are taken from OTEL_EXPORTER_OTLP_HEADERS, so that they
    stand in no shell's history.

    \b
    Example: loopwright export-otlp --endpoint http://localhost:4318
    """
    from loopwright import otlp

    log = logged(path)
    options: Any = _options(**how) | {"run": named(log, run) if run else None}
    click.echo("sending; an endpoint that is not there is tried again for a minute", err=True)
    if follow:
        sending = otlp.follow(log, endpoint, **options)
    else:
        sending = iter([otlp.export(log, endpoint, **options)])
    for sent in sending:
        if as_json:
            out.document({"endpoint": endpoint, **asdict(sent)})
        else:
            out.say(out.one_line(sent))


def _options(content: str | None, protobuf: bool, again: bool) -> dict[str, Any]:
    """The options of an export, and those that OpenTelemetry takes from the environment."""
    options: dict[str, Any] = {
        "content": {None: False, "reasons": "reasons", "all": True}[content],
        "encoding": "protobuf" if protobuf else "json",
        "again": again,
        "headers": os.environ.get("OTEL_EXPORTER_OTLP_HEADERS"),
    }
    service = os.environ.get("OTEL_SERVICE_NAME")
    return options | ({"service": service} if service else {})


@click.command()
@common
@since_option
@save_option
@click.option("--web", is_flag=True, help="In the browser, even if no display is seen.")
def board(path: str | None, as_json: bool, since: str | None, save: str | None, web: bool) -> None:
    """Show a whole log as a page in the browser.

    It tells what was spent, what was accepted, and what waits. Where no browser can be opened, it
    needs --save. With --json it says where the page was saved: the figures are in `loopwright runs`
    and `loopwright spend`.

    \b
    Example: loopwright board --since 2026-11-01 --save board.html
    """
    from loopwright.show.board import board as drawn

    page = drawn(logged(path), since)
    if not save and not out.opened(page, web):
        raise out.Refused("no browser can be opened here: say --save FILE")
    if save:
        out.saved(page, save)
    if as_json and save != "-":
        out.document({"saved": save})


@click.command("datasette-metadata")
@json_option
@save_option
def datasette_metadata(as_json: bool, save: str | None) -> None:
    """Write the metadata with which Datasette explains a log.

    It holds every view, and the questions of the cookbook.

    \b
    Example: loopwright datasette-metadata --save metadata.json
             datasette runs.db --metadata metadata.json
    """
    from loopwright.log.datasette import metadata
    from loopwright.log.jsonl import ascii_json

    out.saved(ascii_json(metadata()) + "\n", save or "-")


@click.command()
@json_option
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(as_json: bool, shell: str) -> None:
    """Print what makes a shell complete commands and runs.

    \b
    Example: eval "$(loopwright completion bash)"
             loopwright completion fish > ~/.config/fish/completions/loopwright.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "click knows all that are choices"
    root = click.get_current_context().find_root().command
    source = kind(root, {}, "loopwright", "_LOOPWRIGHT_COMPLETE").source()
    if as_json:
        out.document({"shell": shell, "script": source})
    else:
        out.say(source)
