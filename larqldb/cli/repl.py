"""The REPL: reads keys on a terminal, plain lines elsewhere, and gives them to the shell."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any

import click

from larqldb.cli.render import renderer, tables
from larqldb.cli.shell import Shell, is_complete

PROMPT, CONTINUED = "larqldb> ", "    ...> "


def run(file: str) -> None:
    """Ask for statements until there are no more; exits with 1 where standard input is a script and one failed."""
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    shell = Shell(file, paged_table if interactive else renderer(None), interactive=interactive)
    try:
        if interactive:
            _ask(shell)
        else:
            _read(shell, sys.stdin)
    finally:
        shell.close()
    if shell.failed and not interactive:
        raise SystemExit(1)


def paged_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], out: IO[str]) -> None:
    """A table on the terminal, in the pager where it is longer than the screen."""
    height = shutil.get_terminal_size().lines
    parts = tables(columns, rows, out)
    first = next(parts)
    if first.count("\n") < height:
        for part in chain([first], parts):
            out.write(part)
    else:
        os.environ.setdefault("LESS", "-RSX")
        click.echo_via_pager(chain([first], parts), color=True)


def _ask(shell: Shell) -> None:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    from larqldb.cli.completion import LQLCompleter

    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_complete(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    session: PromptSession[str] = PromptSession(
        PROMPT,
        multiline=True,
        prompt_continuation=CONTINUED,
        key_bindings=keys,
        history=_history(),
        auto_suggest=AutoSuggestFromHistory(),
        completer=LQLCompleter(lambda: shell.connection.database),
        complete_while_typing=False,
    )
    click.echo(f"{shell.connection.path}. \\help lists what can be typed, Tab completes, \\q leaves.")
    while True:
        try:
            if not shell.run(session.prompt()):
                return
        except KeyboardInterrupt:
            continue  # Ctrl-C throws the line away
        except EOFError:
            return


def _read(shell: Shell, lines: Iterable[str]) -> None:
    typed = ""
    for line in lines:
        typed += line
        if is_complete(typed.removesuffix("\n")):
            if not shell.run(typed):
                return
            typed = ""
    shell.run(typed)


def _history() -> Any:
    """Past statements, in the user's state folder; in memory where that cannot be written."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    base = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".local" / "state"
    folder = Path(base) / "larqldb"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "history").touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(folder / "history"))
