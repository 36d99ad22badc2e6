"""`Marked`: data read from TOML or YAML, which knows in which line each part of it stands."""

import re
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import takewhile
from typing import Any, Literal, NoReturn

from attrs import field, frozen

from loopwright.errors import BadInput

Format = Literal["toml", "yaml"]
Path = tuple[str | int, ...]
"""The keys and places in lists that lead to a part of the data."""

LARGEST = 1_000_000
"""Characters of a configuration: a thousand times what people write."""

DEEPEST = 20
"""Levels of YAML in one another: a configuration has six."""


@frozen
class Marked:
    """The `data` of a file or text named `source`. Numbers with a fraction are Decimals.

    >>> marked('x = 1\\n[loops.writer]\\nmodel = "a:b"', "runs.toml", "toml").wrong(
    ...     ("loops", "writer", "model"), "no such model")
    Traceback (most recent call last):
        ...
    loopwright.errors.BadInput: runs.toml, line 3: no such model
    """

    data: Mapping[str, Any]
    source: str
    _line: Callable[[Path], int] = field(repr=False, alias="line")

    def where(self, path: Path) -> str:
        """The source and the line of a part; if it is not there, of what should hold it."""
        return f"{self.source}, line {self._line(path)}"

    def wrong(self, path: Path, why: object) -> NoReturn:
        """Raise `BadInput` for a part of the data."""
        raise BadInput(f"{self.where(path)}: {why}")


def marked(text: str, source: str, format: Format) -> Marked:
    """`text` as data. Raises `BadInput`, with the line, for what cannot be read."""
    if len(text) > LARGEST:
        raise BadInput(f"{source} has more than {LARGEST} characters: that is no configuration")
    return _yaml(text, source) if format == "yaml" else _toml(text, source)


# ----------------------------------------------------------------------------------------- TOML

_BESIDE = re.compile(r""""(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#.*""")
"""Strings, which may hold anything, and comments."""


_KEY = r"""(?<![\w-])["']?{}["']?\s*(?=[=.,\]])"""
"""A key, or an item of a list that is a name."""


def _toml(text: str, source: str) -> Marked:
    try:
        data = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r"(.*) \(at line (\d+), column \d+\)\Z", str(error))
        why, line = found.groups() if found else (error, text.count("\n") + 1)
        raise BadInput(f"{source}, line {line}: {why}") from None
    bare = _BESIDE.sub(_blanked, text)
    return Marked(data, source, lambda path: _line(bare, data, path))


def _blanked(found: re.Match[str]) -> str:
    """Comments go; strings stay, since some are keys."""
    return " " * len(found[0]) if found[0].startswith("#") else found[0]


def _line(text: str, data: Any, path: Path) -> int:
    """The parser does not say where a key stands: it is searched for, key after key."""
    at, passed = _header(text, path)
    for i, step in enumerate(path):
        if i < passed or isinstance(step, int):
            continue
        key = re.compile(_KEY.format(re.escape(step)))
        for _ in range(_before(data, path[:i], step) + 1):
            found = key.search(text, at)
            at = found.end() if found else at
    return text.count("\n", 0, max(0, at - 1)) + 1


def _header(text: str, path: Path) -> tuple[int, int]:
    """Where the header of the innermost table on the path ends, and how many keys it names."""
    names = list(takewhile(lambda step: isinstance(step, str), path))
    for count in range(len(names), 0, -1):
        keys = r"\s*\.\s*".join(f"""["']?{re.escape(str(name))}["']?""" for name in names[:count])
        if found := re.search(rf"^\s*\[\[?\s*{keys}\s*\]", text, re.MULTILINE):
            return found.end(), count
    return 0, 0


def _before(data: Any, path: Path, key: str) -> int:
    """How many items of the same list, before the one that `path` ends with, hold `key`."""
    if not path or not isinstance(path[-1], int):
        return 0
    for step in path[:-1]:
        data = data[step]
    return sum(key == item or (isinstance(item, dict) and key in item) for item in data[: path[-1]])


# ----------------------------------------------------------------------------------------- YAML


def _yaml(text: str, source: str) -> Marked:
    """YAML as far as JSON goes: no anchors, no tags, no keys that stand twice, and only true,
    false, null and plain numbers are something else than text."""
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise BadInput(f"{source}: to read YAML, pip install 'loopwright[yaml]'") from None
    try:
        _plain(yaml.scan(text, yaml.SafeLoader), source)
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise BadInput(f"{source}, line {line}: {getattr(error, 'problem', error)}") from None
    lines: dict[Path, int] = {}
    data = {} if node is None else _read(node, (), lines, source)
    if not isinstance(data, dict):
        raise BadInput(f"{source}, line 1: at the top stand keys, such as model: and policies:")
    return Marked(data, source, lambda path: _nearest(lines, path))


_OPENING = re.compile(r"<(block|flow) (mapping|sequence) start>|[\[{]\Z")
_CLOSING = re.compile(r"<block end>|[\]}]\Z")


def _plain(tokens: Any, source: str) -> None:
    """Refuse what can say much in few words, before anything is made of it."""
    depth = 0
    for token in tokens:
        depth += bool(_OPENING.match(token.id)) - bool(_CLOSING.match(token.id))
        why = "write it out: no anchor, alias or tag" if token.id in _SHORTHAND else ""
        if why or depth > DEEPEST:
            line = token.start_mark.line + 1
            raise BadInput(f"{source}, line {line}: {why or 'it is nested too deeply'}")


_SHORTHAND = frozenset({"<anchor>", "<alias>", "<tag>"})
"""Ids of tokens of PyYAML."""


def _nearest(lines: Mapping[Path, int], path: Path) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _read(node: Any, path: Path, lines: dict[Path, int], source: str) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if node.id == "scalar":
        return _scalar(node)
    if node.id == "sequence":
        return [_read(item, (*path, i), lines, source) for i, item in enumerate(node.value)]
    data: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.id != "scalar" or key.value in data:
            why = f"{key.value!r} stands there twice" if key.id == "scalar" else "a key is a text"
            raise BadInput(f"{source}, line {line}: {why}")
        lines[(*path, key.value)] = line
        data[key.value] = _read(value, (*path, key.value), lines, source)
    return data


_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\Z")


def _scalar(node: Any) -> Any:
    """`on`, `off`, `no`, `010` and `1:30` stay the texts that they look like."""
    if node.style is not None:
        return node.value
    if node.value in _WORDS:
        return _WORDS[node.value]
    if not _NUMBER.match(node.value):
        return node.value
    return Decimal(node.value) if set(node.value) & set(".eE") else int(node.value)
