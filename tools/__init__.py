"""What a model can do: `tool` makes a tool of a function, and some tools are ready."""

from loopwright.tools.ask_person import Relay, ask_person
from loopwright.tools.files import files
from loopwright.tools.http import http
from loopwright.tools.memory import memory
from loopwright.tools.process import Limits
from loopwright.tools.shell import python, shell
from loopwright.tools.sql import sql
from loopwright.tools.tool import Tool, tool

__all__ = [
    "Limits",
    "Relay",
    "Tool",
    "ask_person",
    "files",
    "http",
    "memory",
    "python",
    "shell",
    "sql",
    "tool",
]
