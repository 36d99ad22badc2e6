"""Configuration: models, prices, ladders and limits from TOML or YAML, as the objects of code.

A file holds names and numbers, and no logic: what needs a function of yours is written in code.
"""

import difflib
import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve, field, frozen

from loopwright import models, policies
from loopwright.budget import Budget, unlimited
from loopwright.errors import BadInput
from loopwright.log.redaction import Redaction
from loopwright.models import catalogue
from loopwright.models.provider import Provider
from loopwright.policies.marked import Format, Marked, Path, marked
from loopwright.policies.timeout import Timeout
from loopwright.policy import Policy

if TYPE_CHECKING:
    from loopwright.api import Loop

Tool = TypeVar("Tool")


def _kinds() -> dict[str, Any]:
    """What a configuration may name: every policy, and every port, that this package exports."""
    exported = {name: getattr(policies, name) for name in policies.__all__} | {"Timeout": Timeout}
    return {
        name: kind
        for name, kind in exported.items()
        if isinstance(kind, type) and (issubclass(kind, Policy) or hasattr(kind, "port"))
        if name not in ("Policies", "Policy", "AskPerson", "Route")
    }


_WRITTEN = dict.fromkeys(
    ("AskPerson", "Route"), "needs a function of yours: it is written in code"
) | dict.fromkeys(
    ("Agrees", "Cites", "Judge", "Matches", "MaxWords", "NoPlaceholders", "Vote"),
    "is a check: it is written in code, among the checks of a task",
)
"""What has a name here, but no place in a configuration."""


KINDS: Mapping[str, Any] = _kinds()


@frozen
class Setup:
    """One loop of a configuration: its model, its policies, and the ports around its calls."""

    model: str = ""
    policies: tuple[Policy, ...] = ()
    ports: tuple[Any, ...] = ()


@frozen
class Configuration:
    """What a file says, as the objects that code would make.

    `loops` are the loops by name, `limits` budgets for tasks, by the name that the file gives them,
    `tools` the options of tools by the name of the tool. `model`, `policies` and `ports` are what
    stands at the top of the file, for a file with a single loop.
    """

    loops: Mapping[str, Setup] = field(factory=dict)
    limits: Mapping[str, Budget] = field(factory=dict)
    tools: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    providers: tuple[Provider, ...] = ()
    top: Setup = Setup()
    log: str = ""

    @property
    def model(self) -> str:
        """The model at the top of the file."""
        return self.top.model

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies at the top of the file."""
        return self.top.policies

    def loop(self, name: str = "", **more: Any) -> "Loop":
        """The loop of that name; `more` are arguments of `Loop`, in place of what the file says.

        Raises `BadInput` for a name that is not there, and what `Loop` raises.
        """
        from loopwright import Loop

        if name and name not in self.loops:
            hint = _near(name, self.loops) or f"; it has {', '.join(self.loops) or 'none'}"
            raise BadInput(f"the configuration has no loop {name!r}{hint}")
        setup = self.loops[name] if name else self.top
        given: dict[str, Any] = {
            "policies": setup.policies,
            "ports": setup.ports,
            "log": self.log or None,
            **more,
        }
        given["providers"] = (*self.providers, *more.get("providers", ()))
        model = given.pop("model", setup.model)
        if not model:
            raise BadInput("the configuration names no model: write model = 'provider:model'")
        return Loop(model, **given)

    def tool(self, tool: Tool) -> Tool:
        """`tool` with the options that the file has for a tool of its name.

        Raises `BadInput` for what is no tool, and for an option that this one does not have.
        """
        given: Any = tool
        if isinstance(given, type) or not hasattr(given, "spec"):
            raise BadInput(f"{given!r:.80} is no tool: decorate the function with @tool")
        options = self.tools.get(given.spec.name, {})
        if unknown := [option for option in options if not hasattr(given, option)]:
            said = f"the tool {given.spec.name!r} has no {unknown[0]}"
            raise BadInput(f"{said}: take it out of the configuration")
        changed: Tool = evolve(given, **options)
        return changed


def load(source: str | os.PathLike[str], format: Format | None = None) -> Configuration:
    """The configuration in the file `source`, or in `source` itself if it has several lines.

    A file whose name ends in ``.yaml`` or ``.yml`` is YAML, which needs the extra ``yaml``; all
    else is TOML, unless `format` says it. ``[prices]``, in USD per million tokens, hold for this
    process from then on. Keys stay in the environment: ``key = "MY_KEY"`` names a variable.

    At the top, and in each ``[loops.NAME]``, stand ``model`` and ``policies``: a list of names, or
    of names with their arguments, as a table or as a list. The policies at the top also hold for
    each loop, below its own. ``[limits.NAME]`` are budgets for tasks, ``[tools.NAME]`` options of
    tools, ``[providers.NAME]`` servers of Chat Completions, or other places of the known providers.

    Raises `BadInput`, with file and line, for what cannot work.

    >>> config = load('''
    ... log = "runs.db"
    ... policies = [{ Budget = { usd = 0.50, seconds = 120 } }]
    ...
    ... [prices]
    ... "local:llama" = { input = "0.10", output = "0.40" }
    ...
    ... [loops.writer]
    ... model = "openai:gpt-6-luna"
    ... policies = [
    ...     { Timeout = { seconds = 15 } },
    ...     { Retry = { times = 1 } },
    ...     { Escalate = ["anthropic:claude-haiku-4-5"] },
    ... ]
    ... ''')
    >>> [policy.name for policy in config.loops["writer"].policies]
    ['Timeout', 'Retry', 'Escalate', 'Budget']
    """
    text, name, found = _read(source)
    _no_secrets(text, name)
    page = marked(text, name, format or found)
    _known(page, (), page.data, ("log", "loops", "limits", "tools", "providers", "prices", *_SETUP))
    configuration = Configuration(
        loops={n: _setup(page, ("loops", n)) for n in _names(page, "loops")},
        limits={n: _budget(page, ("limits", n)) for n in _names(page, "limits")},
        tools={n: _tool(page, ("tools", n)) for n in _names(page, "tools")},
        providers=tuple(_provider(page, ("providers", n), n) for n in _names(page, "providers")),
        top=_setup(page, ()),
        log=_text(page, ("log",)),
    )
    for model in _names(page, "prices"):
        _priced(page, ("prices", model), model)
    return configuration


# ------------------------------------------------------------------------------------ the text


def _read(source: str | os.PathLike[str]) -> tuple[str, str, Format]:
    if isinstance(source, str) and "\n" in source:
        return source, "the configuration", "toml"
    if not isinstance(source, str | os.PathLike):
        raise BadInput(f"load({source!r:.80}): give the path of a file, or its text")
    path = FilePath(source)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise BadInput(f"the configuration {path} cannot be read: {error}") from None
    return text, path.name, "yaml" if path.suffix.lower() in (".yaml", ".yml") else "toml"


def _no_secrets(text: str, source: str) -> None:
    """Whoever has the file would have the key; it is not shown here, either."""
    redaction = Redaction()
    if redaction.masked(text) == text:
        return
    lines = enumerate(text.splitlines(), 1)
    line = next((n for n, said in lines if redaction.masked(said) != said or "BEGIN" in said), 1)
    raise BadInput(
        f"{source}, line {line}: this looks like a key. Put it into an environment variable, and "
        'name that here: key = "MY_KEY"'
    )


# ----------------------------------------------------------------------------- parts of the data

_SETUP = ("model", "policies")


def _at(page: Marked, path: Path) -> Any:
    found: Any = page.data
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _names(page: Marked, section: str) -> Iterable[str]:
    return _table(page, (section,))


def _table(page: Marked, path: Path) -> Mapping[str, Any]:
    found = _at(page, path)
    if found is None:
        return {}
    if not isinstance(found, dict):
        page.wrong(path, f"{path[-1]} is a table of names, and not {found!r}")
    return found


def _known(page: Marked, path: Path, table: Iterable[str], names: Iterable[str]) -> None:
    names = tuple(names)
    for name in table:
        if name not in names:
            hint = _near(name, names) or f"; known are {', '.join(names)}"
            page.wrong((*path, name), f"there is no {name!r} here{hint}")


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f": did you mean {near[0]!r}?" if near else ""


def _text(page: Marked, path: Path) -> str:
    found = _at(page, path)
    if found is None:
        return ""
    if not isinstance(found, str) or not found:
        page.wrong(path, f"{path[-1]} is a text, and not {found!r}")
    return str(found)


def _setup(page: Marked, path: Path) -> Setup:
    if path:
        _known(page, path, _table(page, path), _SETUP)
    model = _text(page, (*path, "model"))
    if model:
        _made(page, (*path, "model"), lambda: models.resolve(model))
    made = [*_policies(page, (*path, "policies"))]
    if path:
        top = _setup(page, ())
        model, made = model or top.model, [*made, *top.policies, *top.ports]
    ladder = tuple(one for one in made if isinstance(one, Policy))
    return Setup(model, ladder, tuple(one for one in made if not isinstance(one, Policy)))


def _made(page: Marked, path: Path, make: Any) -> Any:
    try:
        return make()
    except (BadInput, TypeError, ValueError, AttributeError) as error:
        page.wrong(path, error)


# -------------------------------------------------------------------------------- the policies


def _policies(page: Marked, path: Path) -> Iterator[Any]:
    found = _at(page, path)
    if not isinstance(found, list | None):
        page.wrong(path, "policies is a list, read from top to bottom")
    for i, item in enumerate(found or ()):
        named = {item: {}} if isinstance(item, str) else item
        if not isinstance(named, dict) or len(named) != 1:
            page.wrong((*path, i), f"{item!r} is no policy: write {{ Retry = {{ times = 2 }} }}")
        ((name, given),) = named.items()
        yield _policy(page, (*path, i, name), name, given)


def _policy(page: Marked, path: Path, name: str, given: Any) -> Any:
    if name in _WRITTEN:
        page.wrong(path, f"{name} {_WRITTEN[name]}")
    if name not in KINDS:
        hint = _near(name, KINDS) or f"; known are {', '.join(KINDS)}"
        page.wrong(path, f"there is no policy {name!r}{hint}")
    args, named = _arguments(page, path, KINDS[name], given)
    return _made(page, path, lambda: KINDS[name](*args, **named))


def _arguments(page: Marked, path: Path, kind: Any, given: Any) -> tuple[list[Any], dict[str, Any]]:
    """A list is what stands in the brackets, or the list that comes first there; of a table, the
    names of arguments in the code."""
    parameters = inspect.signature(kind).parameters
    if isinstance(given, list):
        listed = _lists_models(parameters) and all(isinstance(item, str) for item in given)
        return [_plain(item) for item in ([given] if listed else given)], {}
    if not isinstance(given, dict | None):
        return [_plain(given)], {}
    _known(page, path, given or (), parameters)
    args: list[Any] = []
    named: dict[str, Any] = {}
    for key, value in (given or {}).items():
        if parameters[key].kind is inspect.Parameter.VAR_POSITIONAL:
            args += _plain(value) if isinstance(value, list) else [_plain(value)]
        else:
            named[key] = _plain(value, exact=key == "usd")
    return args, named


def _lists_models(parameters: Mapping[str, inspect.Parameter]) -> bool:
    """Whether models are given as a list, and not each by itself."""
    models = next(iter(parameters.values()))
    return models.name == "models" and models.kind is not inspect.Parameter.VAR_POSITIONAL


def _plain(value: Any, exact: bool = False) -> Any:
    """Only money needs to be exact."""
    if isinstance(value, Decimal):
        return value if exact and value.is_finite() else float(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return unlimited if value == "unlimited" else value


def _budget(page: Marked, path: Path) -> Budget:
    table = _table(page, path)
    made: Budget = _policy(page, path, "Budget", dict(table))
    return made


# ------------------------------------------------------------------ tools, prices and providers

_OPTIONS = ("timeout", "retries", "cache_seconds", "at_once")


def _tool(page: Marked, path: Path) -> Mapping[str, Any]:
    table = _table(page, path)
    _known(page, path, table, _OPTIONS)
    return {key: _option(page, (*path, key), value) for key, value in table.items()}


def _option(page: Marked, path: Path, value: Any) -> Any:
    whole = path[-1] in ("retries", "at_once")
    right = isinstance(value, int if whole else int | Decimal) and not isinstance(value, bool)
    if not right or not 0 <= value < unlimited or (path[-1] == "timeout" and value == 0):
        said = "a whole number" if whole else "a number of seconds"
        page.wrong(path, f"{path[-1]} is {said}, and not {value!r}")
    return value if whole else float(value)


def _priced(page: Marked, path: Path, model: str) -> None:
    table = _table(page, path)
    names = ("input", "output", "cache_read", "cache_write")
    _known(page, path, table, names)
    for name in names[:2]:
        if name not in table:
            page.wrong(path, f"{model} needs {name} = ..., in USD per million tokens")
    _made(page, path, lambda: models.resolve(model))
    _made(page, path, lambda: catalogue.set_price(model, **table))


_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*(KEY|TOKEN|SECRET)\Z")


def _provider(page: Marked, path: Path, name: str) -> Provider:
    _known(page, path, _table(page, path), ("base_url", "key"))
    url, key = _text(page, (*path, "base_url")), _text(page, (*path, "key"))
    if key and not _VARIABLE.match(key):
        page.wrong(
            (*path, "key"),
            "key names an environment variable, in capital letters and ending in KEY, TOKEN or "
            "SECRET; it is never the key itself",
        )
    made: Provider = _made(page, path, lambda: _server(name, url, key))
    return made


def _server(name: str, url: str, key: str) -> Provider:
    if name not in ("anthropic", "openai"):
        return models.Chat(name, url, key)
    if key and not os.environ.get(key):
        raise BadInput(f"the environment variable {key} is not set")
    more = {"base_url": url, "api_key": os.environ.get(key, "") if key else ""}
    kind = models.Anthropic if name == "anthropic" else models.OpenAI
    return kind(**{option: value for option, value in more.items() if value})
