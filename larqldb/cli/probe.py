"""``larqldb probe``: what a model knows, by asking it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from larqldb.cli.options import example, output_options
from larqldb.cli.render import renderer
from larqldb.errors import ProgrammingError

COLUMNS = ("relation", "entities", "wordings", "asked", "edges", "stated", "right")


@click.command(epilog=example("larqldb probe smol.vindex --relation capital"))
@click.argument("file")
@click.option("--relation", "names", multiple=True, metavar="NAME", help="Only this relation; may be given again.")
@click.option(
    "--facts", type=click.Path(path_type=Path), metavar="TSV", help="Entities and right answers, tab between."
)
@click.option("--template", "wordings", multiple=True, metavar="TEXT", help="A wording that holds {entity}.")
@click.option("--entities", type=click.Path(path_type=Path), metavar="TEXT", help="More entities, one a line.")
@output_options
def probe(
    file: str,
    names: tuple[str, ...],
    facts: Path | None,
    wordings: tuple[str, ...],
    entities: Path | None,
    output: str | None,
) -> None:
    """Ask the model about relations and write edges.

    Without options, about every relation that larqldb knows wordings and facts of. A relation of your own needs
    templates and someone to ask about: here, or in the tables relation_templates and facts. What was asked already is
    not asked again: an interrupted probe goes on where it stopped. "right" counts the entities whose surest edge is
    what the facts say.
    """
    from larqldb.cli.progress import progress_bar
    from larqldb.knowledge.probe import Request, builtin_requests, run

    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ProgrammingError(f"relation {twice!r} is named twice. Name each once")
    own = facts is not None or entities is not None or bool(wordings)
    if own and len(names) != 1 and not (facts and not names):
        raise click.UsageError("--facts, --template and --entities are about one relation: give one --relation NAME")
    if own:
        wanted = [
            Request.of(
                names[0] if names else None,
                templates=wordings or None,
                facts=facts,
                entities=_lines(entities) if entities else None,
            )
        ]
    else:
        wanted = builtin_requests(names)
    with progress_bar(f"Probing {Path(file).name}") as progress:
        report = run(file, wanted, progress)
    renderer(output)(COLUMNS, report.rows(), sys.stdout)


def _lines(path: Path) -> list[str]:
    """The lines of a text that are not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        what = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        raise click.BadParameter(f"{path}: {what}", param_hint="--entities") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
