"""What the commands' options and help texts have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def example(line: str) -> str:
    """The end of a command's help: a line to try."""
    return f"\b\nExample:\n  {line}"


def output_options(command: F) -> F:
    """The output options, the same for every command that gives rows."""
    choices = (("csv", "CSV; NULL is empty, BLOBs are hexadecimal."), ("json", "JSON: an array of objects."))
    for name, text in (*choices, ("table", "A table, as on a terminal.")):
        command = click.option(f"--{name}", "output", flag_value=name, help=text)(command)
    return command
