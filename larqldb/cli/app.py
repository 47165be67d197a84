"""The commands of ``larqldb``; ``larqldb FILE "statement"`` is short for ``larqldb query FILE "statement"``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click

from larqldb.cli.build import build
from larqldb.cli.compile import compile_command
from larqldb.cli.diff import diff
from larqldb.cli.edit_eval import edit_eval
from larqldb.cli.export import export
from larqldb.cli.generate import chat, run
from larqldb.cli.interrupts import notice_interrupts
from larqldb.cli.label import label
from larqldb.cli.options import example, output_options
from larqldb.cli.probe import probe
from larqldb.cli.pull import pull
from larqldb.cli.push import push
from larqldb.cli.render import Renderer, renderer
from larqldb.cli.report import report
from larqldb.cli.slice import slice_command
from larqldb.dbapi import Connection, connect
from larqldb.dbapi.failures import closest
from larqldb.dbapi.statements import script, to_sql
from larqldb.errors import DamagedVindex, Error, SourceNotFound
from larqldb.extract import LEVELS, extract

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
DEBUG = "LARQLDB_DEBUG"  # set: an unexpected exception shows its traceback


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 an error, 2 wrong usage, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a token's characters
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        return int(cli.main(arguments, prog_name="larqldb", standalone_mode=False) or 0)
    except click.ClickException as problem:
        problem.show()
        return problem.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Error as problem:
        click.echo(f"Error: {problem}", err=True)
    except Exception as problem:
        if os.environ.get(DEBUG):
            raise
        what = f"{type(problem).__name__}: {problem}".partition("\n")[0]
        click.echo(f"Error: {what}\nThis is a mistake in larqldb; {DEBUG}=1 shows where.", err=True)
    return 1


class CommandLine(click.Group):
    """A group whose default command is ``query``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``query`` before what is neither a command nor an option of the group."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h", "--version"):
            args = ["query", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they are needed."""
        return list(self.commands)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from larqldb.build import build_info

    for name, value in build_info().items():
        shown = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        click.echo(f"{name:24} {' '.join(shown.split())}")
    ctx.exit()


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="What larqldb is made of."
)
def cli() -> None:
    """A language model as one SQLite file, queried with SQL and LQL.

    larqldb FILE "statement" runs a statement; larqldb FILE alone asks for statements.
    """


@contextmanager
def _opened(file: str, *, read_only: bool = False) -> Iterator[Connection]:
    with closing(connect(file, read_only=read_only)) as connection:
        notice_interrupts(connection)
        yield connection


@cli.command("extract", epilog=example("larqldb extract SmolLM2-135M-Instruct.Q4_1.gguf -o smol.vindex"))
@click.argument("source")
@click.option("-o", "--output", "target", required=True, metavar="FILE", help="The vindex to write; must not exist.")
@click.option("--level", type=click.Choice(LEVELS), default="all", show_default=True, help="How much is stored.")
@click.option("--dtype", metavar="float32|float16|bfloat16", help="What matrices are stored as.")
@click.option("--layers", metavar="A-B", help="Only the features of these layers.")
@output_options
def extract_command(source: str, target: str, level: str, dtype: str | None, layers: str | None, output: str) -> None:
    """Turn a model into a vindex.

    SOURCE is a Hugging Face directory, a GGUF file, or a hub id such as org/name. The result appears under its name
    when it is complete.
    """
    from larqldb.cli.progress import progress_bar

    with progress_bar(f"Extracting {Path(source).name}") as progress:
        report = extract(source, target, level=level, dtype=dtype, layers=_layers(layers), progress=progress)
    renderer(output)(("what", "where", "how_many", "bytes"), report.rows(), sys.stdout)


@cli.command(
    epilog=example("larqldb query smol.vindex \"SELECT layer, feature FROM features WHERE token = ? LIMIT 5\" ' Paris'")
)
@click.argument("file")
@click.argument("statements", required=False)
@click.argument("values", nargs=-1)
@click.option("-p", "--param", "named", type=(str, str), multiple=True, metavar="NAME VALUE", help="A value for :NAME.")
@click.option("--read-only", is_flag=True, help="Refuse whatever would change the file.")
@output_options
def query(
    file: str,
    statements: str | None,
    values: tuple[str, ...],
    named: tuple[tuple[str, str], ...],
    read_only: bool,
    output: str | None,
) -> None:
    """Run statements of SQL or LQL (the default).

    Several are separated by ";". VALUES stand for ? in one statement; numbers are numbers. Without STATEMENTS, or with
    -, they are read from standard input; on a terminal the REPL starts. Rows are a table on a terminal and JSON
    elsewhere, one array for each statement that gives rows. What the statements change is committed when all of them
    succeeded. In JSON a BLOB is {"$base64": true, "encoded": "..."}.
    """
    _check_file(file)
    if statements is None and sys.stdin.isatty():
        from larqldb.cli.repl import run as start

        start(file)
        return
    if values and named:
        raise click.UsageError("give values for ? or for :NAME, not both")
    pieces = list(script(sys.stdin.read() if statements in (None, "-") else statements))
    if values and len(pieces) > 1:
        raise click.UsageError("values for ? need a single statement; use -p NAME VALUE for several")
    given = {name.removeprefix(":"): _value(value) for name, value in named} or tuple(map(_value, values))
    with _opened(file, read_only=read_only) as connection:
        for statement in pieces:
            show(connection, statement, given, renderer(output))
        connection.commit()


@cli.command(epilog=example("larqldb sql 'DESCRIBE \"France\" KNOWLEDGE'"))
@click.argument("arguments", nargs=-1, required=True, metavar="[FILE] STATEMENT")
def sql(arguments: tuple[str, ...]) -> None:
    """Show the SQL that a statement becomes."""
    if len(arguments) > 2:
        raise click.UsageError("give one statement, in quotes")
    if len(arguments) == 2:
        _check_file(arguments[0])
    for statement in script(arguments[-1]):
        click.echo(to_sql(statement))


@cli.command(epilog=example("larqldb info smol.vindex"))
@click.argument("file")
@output_options
def info(file: str, output: str | None) -> None:
    """Show what a vindex holds."""
    with _opened(file, read_only=True) as connection:
        show(connection, "STATS", (), renderer(output))


@cli.command(epilog=example("larqldb verify smol.vindex"))
@click.argument("file")
@output_options
def verify(file: str, output: str | None) -> None:
    """Check that a vindex is as it was written.

    Recomputes every checksum; exits with 1 where one does not match.
    """
    from larqldb.cli.progress import status
    from larqldb.storage.checksums import verify as problems_of

    with _opened(file, read_only=True) as connection, status("Checking") as progress:
        try:
            problems = list(problems_of(connection.database, progress))
        except Error:
            raise
        except Exception as problem:  # a damaged row can break any step that reads it
            raise DamagedVindex(path=file, problem=f"{type(problem).__name__}: {problem}") from None
    if problems:
        renderer(output)(("what", "problem"), problems, sys.stdout)
        raise DamagedVindex(path=file, problem=f"{len(problems)} checks failed")
    click.echo(f"{file} is sound", err=True)


@cli.command(epilog=example('larqldb trace smol.vindex "The capital of France is" --for Paris --png paris.png'))
@click.argument("file")
@click.argument("prompt")
@click.option("--for", "answer", metavar="WORD", help="The token to follow; the most probable one without it.")
@click.option("--layers", metavar="A-B", help="Only these layers.")
@click.option("--png", type=click.Path(path_type=Path), metavar="FILE", help="Draw it into a picture (larqldb[plot]).")
@output_options
def trace(file: str, prompt: str, answer: str | None, layers: str | None, png: Path | None, output: str | None) -> None:
    """Draw how an answer forms, layer by layer.

    That is its rank and its probability if the network ended after the layer. With an output option, the rows of TRACE
    … DECOMPOSE instead.
    """
    from larqldb.cli.plot import as_png, as_text

    arguments = (prompt, answer, 1, *(_layers(layers) or (None, None)))
    with _opened(file, read_only=True) as connection:
        if output:
            show(connection, "SELECT * FROM trace(?, ?, ?, ?, ?) ORDER BY layer", arguments, renderer(output))
            return
        rows = connection.execute(
            "SELECT token, layer, rank, probability, lens_token FROM trace(?, ?, ?, ?, ?) ORDER BY layer", arguments
        ).fetchall()
        token, steps = rows[0][0], [row[1:] for row in rows]
        if png is not None:
            as_png(token, prompt, steps, png)
        else:
            as_text(token, steps, connection.session.network.vocab, sys.stdout)


@cli.command(epilog=example("larqldb bands smol.vindex"))
@click.argument("file")
@output_options
def bands(file: str, output: str | None) -> None:
    """Find a model's bands by tracing it.

    Runs the model on thirty facts and writes the bands (syntax, knowledge, output) with the evidence for them into the
    table layers, in place of the bands that extraction found from the weights alone.
    """
    from larqldb.dbapi.bands import store_bands

    with _opened(file) as connection:
        store_bands(connection)
        connection.commit()
        columns = "layer, band, answers_read, knockout"
        show(connection, f"SELECT {columns} FROM layers ORDER BY layer", (), renderer(output))


cli.add_command(probe)
cli.add_command(label)
cli.add_command(export)
cli.add_command(report)
cli.add_command(compile_command)
cli.add_command(build)
cli.add_command(diff)
cli.add_command(slice_command)
cli.add_command(push)
cli.add_command(pull)
cli.add_command(edit_eval)
cli.add_command(run)
cli.add_command(chat)


@cli.command(epilog=example("larqldb repl smol.vindex"))
@click.argument("file", default=":memory:")
def repl(file: str) -> None:
    """Ask for statements and show their rows."""
    from larqldb.cli.repl import run as start

    start(file)


@cli.command("help", epilog=example("larqldb help DESCRIBE"))
@click.argument("statement", nargs=-1)
def help_command(statement: tuple[str, ...]) -> None:
    """Explain a statement of LQL, or list them all."""
    from larqldb.lql import help_text

    click.echo(help_text(" ".join(statement) or None))


def show(connection: Connection, statement: str, given: Any, render: Renderer) -> None:
    """Run a statement and render its rows; what it changed is said on a terminal only."""
    cursor = connection.execute(statement, given)
    if cursor.description is not None:
        render([column[0] for column in cursor.description], cursor, sys.stdout)
    elif cursor.rowcount >= 0 and sys.stdout.isatty():
        click.echo(f"{cursor.rowcount:,} row{'' if cursor.rowcount == 1 else 's'} changed")


def _check_file(file: str) -> None:
    """A file that is not there may be a mistyped command."""
    if not os.path.exists(file) and file != ":memory:":
        near = closest(file, cli.commands) if Path(file).name == file and "." not in file else None
        if near:
            raise click.UsageError(f"there is no file or command {file!r}. Did you mean {near}?")
        raise SourceNotFound(source=file, remedy="Make one with: larqldb extract SOURCE -o NAME.vindex")


def _layers(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise click.BadParameter(f"{text!r} is not a range such as 10-20", param_hint="--layers")
    return int(first), int(last or first)


def _value(text: str) -> int | float | str:
    """A number where the text is one, as SQL writes them."""
    if re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        return int(text)
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        return float(text)
    return text
