"""``larqldb diff``: what differs between two vindexes, or two states of one."""

from __future__ import annotations

import sys
from contextlib import closing

import click

from larqldb.cli.interrupts import notice_interrupts
from larqldb.cli.options import example, output_options
from larqldb.cli.render import renderer


@click.command(epilog=example("larqldb diff smol.vindex --without myths.vlp"))
@click.argument("left", metavar="FILE")
@click.argument("right", required=False, metavar="[OTHER]")
@click.option("--without", multiple=True, metavar="PATCH", help="Compare FILE without this patch; may be repeated.")
@click.option("--what", "kinds", multiple=True, type=click.Choice(("features", "edges", "tensors")), help="Only these.")
@click.option("--static", is_flag=True, help="Edges that are read off the weights, too.")
@click.option("--layer", type=click.IntRange(0), metavar="N", help="Only what is in this layer.")
@click.option("--relation", metavar="NAME", help="Only features and edges of this relation.")
@output_options
def diff(
    left: str, right: str | None, without: tuple[str, ...], kinds: tuple[str, ...], static: bool, layer: int | None,
    relation: str | None, output: str | None,
) -> None:  # fmt: skip
    """Show what differs, feature by feature and edge by edge.

    What OTHER has apart from FILE: two models, or two states of one. Without OTHER, what FILE has apart from its base,
    or with --without, from itself without that patch. A feature is shown by the token it promotes most, an edge by its
    target; "change" is how far a feature's vectors moved over how long they were, or what an edge's confidence gained.
    """
    from larqldb.dbapi import connect
    from larqldb.functions.states import KINDS, Change, State, changes

    if right is not None and without:
        raise click.UsageError("--without compares a file with itself: leave OTHER out")
    with closing(connect(left, read_only=True)) as one, closing(connect(right or left, read_only=True)) as other:
        for connection in (one, other):
            notice_interrupts(connection)
            connection.execute("BEGIN")  # one state of each file
        before = State(one.session, without, base=right is None and not without)
        with closing(before), closing(State(other.session)) as after:
            rows = changes(before, after, kinds or KINDS, static=static, layer=layer, relation=relation)
            renderer(output)(Change._fields, rows, sys.stdout)
