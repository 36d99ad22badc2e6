"""What a model can do: `tool` makes a tool of a function, and some tools are ready."""

from loopwright.tools.ask_person import Relay, ask_person
from loopwright.tools.delegate import delegate
from loopwright.tools.files import files
from loopwright.tools.http import http
from loopwright.tools.labels import exposed
from loopwright.tools.mcp import mcp_server
from loopwright.tools.memory import memory
from loopwright.tools.process import Limits
from loopwright.tools.shell import python, shell
from loopwright.tools.sql import sql
from loopwright.tools.team import HandOff, Team
from loopwright.tools.tool import Tool, tool

__all__ = [
    "HandOff",
    "Limits",
    "Relay",
    "Team",
    "Tool",
    "ask_person",
    "delegate",
    "exposed",
    "files",
    "http",
    "mcp_server",
    "memory",
    "python",
    "shell",
    "sql",
    "tool",
]
