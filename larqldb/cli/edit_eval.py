"""``larqldb edit-eval``: how well edits work on a model, and what else they change."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from larqldb.cli.options import example, output_options
from larqldb.cli.render import renderer
from larqldb.errors import OutputFailed
from larqldb.storage.new_file import replace_file
from larqldb.storage.outputs import check_folder

COLUMNS = (
    *("run", "facts", "efficacy", "exact", "seen", "unseen", "neighbours", "others", "kl", "kl_most"),
    *("seconds", "seconds_reported"),
)
MOST = 200


@click.command("edit-eval", epilog=example("larqldb edit-eval smol.vindex --count 10 --batch 10 --sequential 0"))
@click.argument("file")
@click.option("--facts", type=click.Path(path_type=Path), metavar="TSV", help="Facts: entity, relation, target.")
@click.option("--count", type=click.IntRange(0), default=40, show_default=True, help="Facts edited each alone.")
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(1),
    multiple=True,
    default=(10, 50, 200),
    show_default=True,
    help="Facts edited in one statement; may be given again.",
)
@click.option(
    "--sequential", type=click.IntRange(0), default=MOST, show_default=True, help="Facts edited one after the other."
)
@click.option("--mode", type=click.Choice(("compose", "knn")), default="compose", show_default=True, help="INSERT's.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which built-in facts are drawn.")
@click.option("-o", "--output-file", type=click.Path(path_type=Path), metavar="FILE", help="Write all of it as JSON.")
@output_options
def edit_eval(
    file: str,
    facts: Path | None,
    count: int,
    batches: tuple[int, ...],
    sequential: int,
    mode: str,
    seed: int,
    output_file: Path | None,
    output: str | None,
) -> None:
    r"""Measure INSERT INTO EDGES on a model.

    All is done in a temporary copy: FILE stays as it is, bit for bit. INSERT is told the first half of a relation's
    wordings; the others are "unseen". Without --facts, facts that the model cannot know are made from larqldb's
    relation packs, three of four about entities it may know, one about an invented one.

    \b
    efficacy    the model's answer begins with the target, in the inserted wording
    exact       … and is that and no more
    seen        the target is answered in wordings that INSERT was told
    unseen      … in wordings that it was not told
    neighbours  other entities, same relation: whole answers that stay as they were
    others      the same entity in other relations: answers that stay
    kl          divergence on unrelated text, in nats: mean over positions, then kl_most, the largest
    seconds     of INSERT a fact, without its report and with it, or of COMPACT MAJOR
    """
    from larqldb.cli.progress import progress_bar

    if output_file is not None:
        check_folder(output_file)
    with progress_bar(f"Editing a copy of {Path(file).name}") as progress:
        found = _measured(file, facts, count, batches, sequential, mode, seed, progress)
    if output_file is not None:
        try:
            replace_file(output_file, [json.dumps(found, ensure_ascii=False, indent=1).encode() + b"\n"])
        except OSError as problem:
            raise OutputFailed(path=output_file, problem=problem.strerror or str(problem)) from problem
    rows = [tuple(result[name] for name in COLUMNS) for result in found["results"]]
    renderer(output)(COLUMNS, rows, sys.stdout)
    if known := found["known_already"]:
        click.echo(f"{len(known)} facts were left out: the model answers them already", err=True)


def _measured(
    file: str, facts: Path | None, count: int, batches: tuple[int, ...], sequential: int, mode: str, seed: int,
    progress: Any,
) -> dict[str, Any]:  # fmt: skip
    """All that was found, ready for JSON."""
    from larqldb.dbapi import connect
    from larqldb.edit import evaluate_facts
    from larqldb.edit.evaluate import Evaluation

    most = max(count, sequential, *batches)
    drawn = evaluate_facts.read(facts) if facts else evaluate_facts.builtin(most + most // 8 + 4, seed)
    start = time.perf_counter()
    with _copied(file, progress) as copy, closing(connect(copy)) as connection:
        evaluation = Evaluation(connection, drawn, mode=mode, progress=progress)
        first = evaluation.prepare()
        results = []
        for result, tally in evaluation.run(count, batches, sequential):
            results.append({**asdict(result), "details": tally.details})
    return {
        "file": Path(file).name, "mode": mode, "seed": None if facts else seed, "seconds": time.perf_counter() - start,
        "first_edit_seconds": first[0], "first_of_relation_seconds": first[1:], "results": results,
        "known_already": [(fact.entity, fact.relation, fact.target) for fact in evaluation.left_out],
    }  # fmt: skip


@contextmanager
def _copied(file: str, progress: Any) -> Iterator[Path]:
    """A copy as it is at one moment, whoever else writes to the file; removed at the end."""
    import apsw

    from larqldb.storage.database import open_database

    with tempfile.TemporaryDirectory(prefix="larqldb-") as folder, closing(open_database(file, read_only=True)) as db:
        path = Path(folder) / Path(file).name
        try:
            with closing(apsw.Connection(str(path))) as copy, copy.backup("main", db, "main") as backup:
                while not backup.done:
                    backup.step(4096)
                    progress("copying", backup.page_count - backup.remaining, backup.page_count)
        except (apsw.FullError, apsw.IOError) as problem:
            raise OutputFailed(path=path, problem=str(problem)) from problem
        yield path
