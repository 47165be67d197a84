"""What SQL can call on a connection: table-valued functions, two scalar ones, and sqlite-vec's.

``session.vectors`` provides the schema ``vec`` when a statement asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from larqldb.errors import OperationalError
from larqldb.functions import describe, diff, explain, hybrid, inference, labels, matching, properties, trace
from larqldb.functions import table_function as tables
from larqldb.functions.table_function import TableFunction
from larqldb.storage.vectors import load_extension

if TYPE_CHECKING:
    import apsw

    from larqldb.functions.session import Session

__all__ = ["FUNCTIONS", "register"]

Rows = Callable[..., Iterable[tuple[Any, ...]]]


_WALK = (
    "layer INTEGER", "rank INTEGER", "feature INTEGER", "gate REAL", "activation REAL", "contribution REAL",
    "token TEXT", "also TEXT", "relation TEXT",
)  # fmt: skip

# name → columns, arguments, how many of them are required, rows
FUNCTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...], int, Rows]] = {
    "walk": (
        _WALK,
        ("prompt", "top", "mode", "first_layer", "last_layer", "relations_only"),
        1,
        hybrid.walk,
    ),
    "describe": (
        ("relation TEXT", "target TEXT", "score REAL", "layer INTEGER", "feature INTEGER", "layers TEXT",
         "hits INTEGER", "also TEXT", "band TEXT", "confidence REAL", "source TEXT"),
        ("entity", "first_layer", "last_layer", "band", "relations_only", "detail"),
        1,
        describe.describe,
    ),
    "added_features": (
        ("layer INTEGER", "feature INTEGER", "token TEXT", "also TEXT", "relation TEXT", "score REAL", "source TEXT",
         "gate_norm REAL", "up_norm REAL", "down_norm REAL", "entity TEXT", "target TEXT", "patch TEXT"),
        (),
        0,
        labels.added_features,
    ),
    "gate_match": (
        ("layer INTEGER", "feature INTEGER", "score REAL", "distance REAL"),
        ("query", "k", "layer"),
        1,
        matching.gate_match,
    ),
    "down_match": (
        ("layer INTEGER", "feature INTEGER", "score REAL", "distance REAL"),
        ("query", "k", "layer"),
        1,
        matching.down_match,
    ),
    "infer": (
        ("rank INTEGER", "token TEXT", "token_id INTEGER", "probability REAL", "mode TEXT", "kl REAL",
         "rows_pulled INTEGER", "row_share REAL", "bytes_read INTEGER"),
        ("prompt", "top", "mode", "compare"),
        1,
        inference.infer,
    ),
    "stats": (("property TEXT", "value"), ("path",), 0, properties.stats),
    "infer_batch": (
        ("position INTEGER", "prompt TEXT", "rank INTEGER", "token TEXT", "token_id INTEGER", "probability REAL"),
        ("prompts", "top"),
        1,
        inference.infer_batch,
    ),
    "explain_infer": (
        (*_WALK, "logit REAL", "answer TEXT"),
        ("prompt", "top", "first_layer", "last_layer", "relations_only", "answer"),
        1,
        explain.explain_infer,
    ),
    "attention": (
        ("layer INTEGER", "lens_token TEXT", "lens_probability REAL", "attended_token TEXT", "attended_weight REAL",
         "head INTEGER", "attended_position INTEGER", "logit REAL"),
        ("prompt", "first_layer", "last_layer", "answer"),
        1,
        explain.attention,
    ),
    "attention_heads": (
        ("layer INTEGER", "head INTEGER", "position INTEGER", "attended_position INTEGER", "attended_token TEXT",
         "weight REAL", "logit REAL"),
        ("prompt", "first_layer", "last_layer", "positions", "answer"),
        1,
        explain.attention_heads,
    ),
    "generate": (("text TEXT", "tokens INTEGER"), ("prompt", "max_tokens", "mode"), 1, inference.generate),
    "trace": (
        ("layer INTEGER", "position INTEGER", "token TEXT", "rank INTEGER", "probability REAL", "attn REAL",
         "ffn REAL", "residual REAL", "who TEXT", "embedding REAL", "lens_token TEXT", "lens_probability REAL",
         "read TEXT", "pieces TEXT"),
        ("prompt", "answer", "decompose", "first_layer", "last_layer", "positions"),
        1,
        trace.trace,
    ),
    "diff": (
        ("what TEXT", '"where" TEXT', "how_many INTEGER", "bytes INTEGER", "layer INTEGER", "relation TEXT"),
        ("left_path", "right_path"),
        0,
        diff.diff,
    ),
}  # fmt: skip

SCALARS: dict[str, Callable[..., bytes | None]] = {
    "gate_query": matching.gate_query,
    "down_query": matching.down_query,
}

BY_LAYER = frozenset(
    {"added_features", "walk", "gate_match", "down_match", "explain_infer", "attention", "attention_heads", "trace"}
)


def register(db: apsw.Connection, session: Session) -> None:
    """Make every function selectable on a connection; they load the model through ``session`` when first used."""
    for name, (columns, arguments, required, rows) in FUNCTIONS.items():
        function = TableFunction(name, columns, arguments, required, partial(rows, session), name in BY_LAYER)
        tables.register(db, function)
    for name, scalar in SCALARS.items():
        db.create_scalar_function(name, partial(scalar, session), deterministic=True)
    with suppress(OperationalError):  # where sqlite-vec has no build: only ``vec`` needs it, and says so then
        load_extension(db)
