"""The command line: ``loopwright``, also ``python -m loopwright``."""


def main() -> None:
    """What the command runs."""
