"""describe(): what is known of an entity: edges that running the model has shown, then associations of its weights.

What an entity was never asked about, and others were, it is asked on the spot (``live``). What weights alone say is
marked ``static`` and has no confidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from larqldb.functions import known, live
from larqldb.functions.arguments import json_array, mention, one_of
from larqldb.functions.associations import associations, word
from larqldb.functions.known import Edge
from larqldb.functions.labels import Feature, token_lists
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    from larqldb.functions.session import Session

Row = tuple[Any, ...]
Place = tuple[int | None, int | None, float | None, list[int], int]  # layer, feature, score, layers, hits

BRIEF, USUAL = 10, 50  # rows
FEW = 10  # associations beside edges
FAINT = 0.1  # confidence of edges that only all rows show
BANDS = ("syntax", "knowledge", "output", "all")
DETAILS = ("brief", "verbose", "raw")


def describe(
    session: Session,
    entity: str,
    first_layer: int | None = None,
    last_layer: int | None = None,
    band: str | None = None,
    relations_only: int = 0,
    detail: str | None = None,
) -> Iterator[Row]:
    """What is known of an entity: its edges, surest first, then what features that answer to it promote, by gate.

    Without ``band`` (syntax, knowledge, output or all) and layers there are all edges, and associations of all layers
    but syntax, where words rather than things are told apart. With them, an edge is there when features of those layers
    wrote it, the strongest of them beside it; so are edges that no layer is known of. ``relations_only`` leaves
    associations without a relation out. ``detail`` is brief (10 rows), verbose (all rows) or raw (all, one for each
    feature); without it there are 50 rows, ten of them associations where there are edges. Neither shows edges that the
    model is hardly sure of, of less confidence than 0.1.

    Columns: relation, target, score (an edge's: what the feature adds to the target's logit; an association's: gate·x),
    layer, feature (the strongest's), layers (JSON), hits (features), also (the feature's other words, JSON), band,
    confidence, source.
    """
    if band is not None:
        band = one_of(band, BANDS, "band")
    if detail is not None:
        detail = one_of(detail, DETAILS, "detail")
    about = {
        layer: (named, norm) for layer, named, norm in fetch(session.db, "SELECT layer, band, gate_norm FROM layers")
    }
    usual = band is None and first_layer is None and last_layer is None
    wanted = [
        n
        for n in session.layer_range(first_layer, last_layer)
        if (about[n][0] != "syntax" if usual else band in (None, "all", about[n][0]))
    ]
    ids = mention(session, entity, "entity")
    most = {None: USUAL, "brief": BRIEF}.get(detail)
    edges = _edges(session, entity)
    if most is not None:
        edges = [edge for edge in edges if edge.confidence is None or edge.confidence >= FAINT]
    shown = _as_they_are(session, edges[:most]) if usual and detail != "raw" else None
    if shown is None:
        everywhere = usual or band == "all"
        shown = list(_in_layers(session, edges, None if everywhere else wanted, each=detail == "raw"))[:most]
    left = None if most is None else min(most - len(shown), FEW if shown else most)
    found = []
    if left != 0:
        found = associations(session, entity, ids, {n: about[n][1] for n in wanted}, merge=detail != "raw")
        found = [one for one in found if one.relation is not None or not relations_only][:left]
    features = [(layer, feature) for _, (layer, feature, *_) in shown if layer is not None and feature is not None]
    tokens = token_lists(session, [*features, *((one.layer, one.feature) for one in found if one.also is None)])
    for edge, (layer, feature, score, layers, hits) in shown:
        also = _also(tokens, edge.target, layer, feature)
        named = None if layer is None else about[layer][0]
        yield (
            edge.relation, edge.target, score, layer, feature, json_array(layers), hits, also, named,
            edge.confidence, edge.source,
        )  # fmt: skip
    for one in found:
        if one.also is None:
            one.also = _also(tokens, one.target, one.layer, one.feature)
        yield (
            one.relation, one.target, one.score, one.layer, one.feature, json_array(sorted(set(one.layers))),
            len(one.layers), one.also, about[one.layer][0], None, "static",
        )  # fmt: skip


def _also(tokens: dict[Feature, list[str]], target: str, layer: int | None, feature: int | None) -> str:
    """The readable tokens after the first that a feature promotes, but for the target: a JSON array."""
    if layer is None or feature is None:
        return "[]"
    words = dict.fromkeys(word(token) for token in tokens.get((layer, feature), ())[1:])
    return json_array([one for one in words if one and one != target])


def _edges(session: Session, entity: str) -> list[Edge]:
    """What is confirmed of an entity, surest first; what it was never asked about is asked now."""
    edges, name = known.edges(session, entity)
    relations = known.unasked(session, [name] if edges else known.spellings(name))
    if not relations:
        return edges
    found = live.ask(session, name, relations)
    if found is None:
        return known.edges(session, entity)[0]
    return sorted([*edges, *found], key=lambda edge: (edge.confidence is None, -(edge.confidence or 0)))


def _as_they_are(session: Session, edges: Sequence[Edge]) -> list[tuple[Edge, Place]]:
    """Edges with the place of their strongest feature."""
    places = known.places(session, edges)

    def place(edge: Edge) -> Place:
        alone = [] if edge.layer is None else [edge.layer]
        hits, layers = places.get(edge.edge_id) or (len(edge.pieces), sorted({piece[0] for piece in edge.pieces}))
        return edge.layer, edge.feature, edge.score, layers or alone, hits or len(alone)

    return [(edge, place(edge)) for edge in edges]


def _in_layers(
    session: Session, edges: Sequence[Edge], layers: Sequence[int] | None, *, each: bool
) -> Iterator[tuple[Edge, Place]]:
    """Edges that features of some layers wrote, with the strongest of these, or with ``each`` of them."""
    for edge, pieces in zip(edges, known.pieces(session, edges), strict=True):
        near = [piece for piece in pieces if layers is None or piece[0] in layers]
        if near and each:
            yield from ((edge, (layer, feature, score, [layer], 1)) for layer, feature, score in near)
        elif near:
            layer, feature, score = near[0]
            yield edge, (layer, feature, score, sorted({piece[0] for piece in near}), len(near))
        elif not pieces and (layers is None or edge.layer is None or edge.layer in layers):
            alone = [] if edge.layer is None else [edge.layer]
            yield edge, (edge.layer, edge.feature, edge.score, alone, len(alone))
