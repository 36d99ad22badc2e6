"""The command line: ``loopwright``, also ``python -m loopwright``.

What a command needs is imported when it runs, so that help and completion come at once.
"""


def main() -> None:
    """What the command runs."""
    from loopwright.cli.group import cli

    cli()
