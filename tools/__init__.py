"""What a model can do: `tool` makes a tool of a function."""

from loopwright.tools.tool import Tool, tool

__all__ = ["Tool", "tool"]
