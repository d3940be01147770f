"""The command `steelman`: parse, call, render."""

from steelman.cli.main import main

__all__ = ["main"]
