"""Nodes → SQL: every query statement becomes one SELECT that can be copied, joined and learned from.

Statements of LQL's own are built as sqlglot expressions and printed in its ``sqlite`` dialect. SQL that users wrote is
never parsed and printed again, which would not give it back unchanged (sqlglot 30 does not read ``?1`` in this dialect,
and keeps an interpretation, not a text): ``NEAREST TO`` and ``|>`` are spliced into it, and conditions are carried over
as they are. Positional parameters come out as ``?`` where each is used once and in order, else as ``?1``, ``?2``.

The SQL uses the tables of the vindex and these table functions; arguments may be left out from the right, and NULL
stands for the default, which is the function's own unless stated:

    walk(prompt, top, mode, first_layer, last_layer, relations_only)
        → layer, rank, feature, gate, activation, contribution, token, also, relation
        top rows of each layer; mode is hybrid, pure or dense; relations_only = 1 ranks labelled features alone
    explain_infer(prompt, top, first_layer, last_layer, relations_only)
        → the columns of walk; the features that made the answer of infer(prompt)
    attention(prompt, first_layer, last_layer)
        → layer, lens_token, lens_probability, attended_token, attended_weight; one row of each layer
    infer(prompt, top, mode, compare)
        → rank, token, token_id, probability, mode, kl, rows_pulled, row_share, bytes_read
        mode is walk or dense; compare = 1 measures kl, against dense
    generate(prompt, max_tokens, mode) → text, tokens; one row
    describe(entity, first_layer, last_layer, band, relations_only, detail)
        → relation, target, score, layer, feature, layers, hits, also, band, confidence, source
        band is syntax, knowledge, output or all; detail is verbose, brief or raw, its default none of these
    trace(prompt, answer, decompose, first_layer, last_layer, positions)
        → layer, position, token, rank, probability, attn, ffn, residual, who
        decompose = 0 leaves attn and ffn NULL; positions is last (default) or all
    gate_match(query, k, layer) → layer, feature, score, distance; k NULL ranks the whole layer; down_match likewise,
        by what features write
    added_features → layer, feature, token, also, relation, score, source, gate_norm, up_norm, down_norm; no arguments
    stats(path) → property, value; of the current vindex without path
    diff(left, right) → what, where, how_many, bytes, layer, relation; NULL is the current vindex

A layer that the model does not have is for these functions to refuse; over tables it has no rows.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from sqlglot import exp, parse_one

from larqldb.errors import NotAQuery
from larqldb.lql import nodes
from larqldb.lql.fragments import FEATURE_COLUMNS, fragment_sql, sql_string
from larqldb.lql.grammar import FORM_OF
from larqldb.lql.parser import parse
from larqldb.lql.pipes import feed
from larqldb.lql.tokens import Kind, scan

if TYPE_CHECKING:
    from collections.abc import Callable

Value = str | int | float | nodes.Parameter | None

_CACHED_LENGTH = 4096
_WALK = ("layer", "rank", "feature", "gate", "activation", "contribution", "token", "also", "relation")
_COMPARED = ("kl", "rows_pulled", "row_share", "bytes_read")
_ATTENTION = ("lens_token", "lens_probability", "attended_token", "attended_weight")
_DESCRIBE = (
    "relation",
    "target",
    "score",
    "layer",
    "feature",
    "layers",
    "hits",
    "also",
    "band",
    "confidence",
    "source",
)
_TRACE = ("layer", "position", "token", "rank", "probability", "attn", "ffn", "residual", "who")
_MODE = exp.column("mode", "modes")


def to_sql(text: str) -> str:
    """The SQL of a statement: LQL's lowered, SQL's own as it stands; NotAQuery for a command."""
    return _to_sql_remembered(text) if len(text) <= _CACHED_LENGTH else print_sql(parse(text))


@lru_cache(1024)
def _to_sql_remembered(text: str) -> str:
    return print_sql(parse(text))


def print_sql(node: nodes.Statement) -> str:
    """The SQL of a node; NotAQuery for a command."""
    if isinstance(node, nodes.Sql):
        return node.text
    return _simplify_parameters(_print(node))


def lower(node: nodes.Statement) -> exp.Select:
    """The SELECT of a statement of LQL's own; NotAQuery for commands and for what is spliced from SQL text."""
    function = _LOWER.get(type(node))
    if function is None:
        raise NotAQuery(statement=_statement_name(node))
    return function(node)


def _statement_name(node: nodes.Statement) -> str:
    form = FORM_OF.get(type(node))
    if form is None:
        return type(node).__name__.upper()
    words = (clause.words for clause in form.clauses if clause.becomes is type(node))
    return " ".join((*form.verb, *next(words, ())))


def _print(node: nodes.Statement) -> str:
    match node:
        case nodes.Sql():
            return node.text
        case nodes.Select():
            return "".join(part if isinstance(part, str) else _nearest(part) for part in node.parts)
        case nodes.Pipe():
            sql = _print(node.stages[0])
            for stage in node.stages[1:]:
                sql = feed(sql, _print(stage))
            return sql
    return str(lower(node).sql(dialect="sqlite", pretty=True, normalize_functions=False))


def _simplify_parameters(sql: str) -> str:
    """``?1 … ?2`` as ``? … ?`` where that means the same."""
    if "?" not in sql:
        return sql
    parameters = [token for token in scan(sql) if token.kind is Kind.PARAMETER]
    if [token.text for token in parameters] != [f"?{number + 1}" for number in range(len(parameters))]:
        return sql
    pieces: list[str] = []
    position = 0
    for token in parameters:
        pieces += (sql[position : token.start], "?")
        position = token.end
    return "".join((*pieces, sql[position:]))


# Building blocks


def _value(value: Value) -> exp.Expression:
    match value:
        case None:
            return exp.null()
        case nodes.Parameter():
            return exp.Var(this=str(value))
        case str():
            # A line break is safe in a literal; a NUL would end the statement.
            return exp.Var(this=sql_string(value)) if "\0" in value else exp.Literal.string(value)
        case _:
            return exp.Literal.number(value)


def _call(name: str, *arguments: Value | exp.Expression, alias: str | None = None) -> exp.Table:
    """A table function; arguments left at their default at the end are left out."""
    given = list(arguments)
    while given and given[-1] is None:
        given.pop()
    values = [one if isinstance(one, exp.Expression) else _value(one) for one in given]
    call = exp.Table(this=exp.Anonymous(this=name, expressions=values))
    if alias is not None:
        call.set("alias", exp.TableAlias(this=exp.to_identifier(alias)))
    return call


def _columns(names: Any, table: str | None = None) -> list[exp.Expression]:
    return [exp.column(name, table=table) for name in names]


def _bounds(layers: nodes.Layers | None) -> tuple[Value, Value]:
    return (None, None) if layers is None else (layers.first, layers.last)


def _flag(flag: bool) -> int | None:
    return 1 if flag else None


def _equals(column: str, value: Value, table: str | None = None) -> exp.EQ:
    return exp.EQ(this=exp.column(column, table=table), expression=_value(value))


def _raw(text: str) -> exp.Expression:
    """SQL that is carried over as it stands."""
    return exp.Var(this=text)


def _template(sql: str, **values: exp.Expression) -> exp.Select:
    """A SELECT from its text, with values for its ``:names``."""
    select = exp.replace_placeholders(_parsed(sql), **values) if values else _parsed(sql).copy()
    assert isinstance(select, exp.Select)
    return select


@cache
def _parsed(sql: str) -> exp.Select:
    select = parse_one(sql, dialect="sqlite")
    assert isinstance(select, exp.Select)
    return select


def _compared(columns: list[exp.Expression], source: exp.Table, mode: str) -> exp.Select:
    """The rows of a source that takes its mode from ``modes.mode``, for a mode and for the dense network."""
    modes = f"(SELECT '{mode}' AS mode UNION ALL SELECT 'dense') AS modes"
    return exp.select(*columns, "modes.mode").from_(modes).join(source, join_type="cross")


# Running the model


def _walk(node: nodes.Walk) -> exp.Select:
    layers = _bounds(node.layers)
    if not node.compare:
        source = _call("walk", node.prompt, node.top, node.mode, *layers)
        return exp.select(*_columns(_WALK)).from_(source).order_by("layer", "rank")
    source = _call("walk", node.prompt, node.top, _MODE, *layers, alias="w")
    mode = node.mode if node.mode in ("hybrid", "pure") else "hybrid"
    return _compared(_columns(_WALK, "w"), source, mode).order_by("w.layer", "modes.mode", "w.rank")


def _infer(node: nodes.Infer) -> exp.Select:
    if node.generate is not None:
        return _generate(node)
    columns = ("rank", "token", "token_id", "probability")
    if not node.compare:
        source = _call("infer", node.prompt, node.top)
        return exp.select(*_columns((*columns, "mode"))).from_(source).order_by("rank")
    source = _call("infer", node.prompt, node.top, _MODE, 1, alias="i")
    select = _compared(_columns(columns, "i"), source, "walk").select(*_columns(_COMPARED, "i"))
    return select.order_by("modes.mode", "i.rank")


def _generate(node: nodes.Infer) -> exp.Select:
    columns = ("text", "tokens")
    if not node.compare:
        return exp.select(*_columns(columns)).from_(_call("generate", node.prompt, node.generate))
    source = _call("generate", node.prompt, node.generate, _MODE, alias="g")
    return _compared(_columns(columns, "g"), source, "walk").order_by("modes.mode")


def _describe(node: nodes.Describe) -> exp.Select:
    bounds = (node.layer, node.layer)
    source = _call("describe", node.entity, *bounds, node.band, _flag(node.relations_only), node.detail)
    confirmed = _equals("source", "static")  # 0 before 1
    sure, strong = (exp.Ordered(this=exp.column(name), desc=True) for name in ("confidence", "score"))
    return exp.select(*_columns(_DESCRIBE)).from_(source).order_by(confirmed, sure, strong, "layer", "feature")


def _explain(node: nodes.ExplainWalk | nodes.ExplainInfer) -> exp.Select:
    layers, relations_only = _bounds(node.layers), _flag(node.relations_only)
    band = None if node.band == "all" else node.band
    alias = "w" if band or node.verbose or node.attention else None
    if isinstance(node, nodes.ExplainWalk):
        source = _call("walk", node.prompt, node.top, None, *layers, relations_only, alias=alias)
    else:
        source = _call("explain_infer", node.prompt, node.top, *layers, relations_only, alias=alias)
    if alias is None:
        return exp.select(*_columns(_WALK)).from_(source).order_by("layer", "rank")
    select = exp.select(*_columns(_WALK, "w")).from_(source)
    if node.verbose:
        numbers = ("score", "gate_norm", "up_norm", "down_norm")
        either = [f"coalesce(f.{name}, n.{name}) AS {name}" for name in numbers]
        select = select.select("l.band", *either, "coalesce(f.label_source, n.source) AS source")
        for table, name in (("features", "f"), ("added_features", "n")):  # a feature is a row of one or the other
            same = f"{name}.layer = w.layer AND {name}.feature = w.feature"
            select = select.join(f"{table} AS {name}", on=same, join_type="left")
    if band or node.verbose:
        select = select.join("layers AS l", on="l.layer = w.layer")
    if node.attention:
        read = _call("attention", node.prompt, *layers, alias="a")
        select = select.select(*_columns(_ATTENTION, "a")).join(read, on="a.layer = w.layer")
    if band:
        select = select.where(_equals("band", band, "l"))
    return select.order_by("w.layer", "w.rank")


def _trace(node: nodes.Trace) -> exp.Select:
    positions = None if node.positions == "last" else node.positions
    source = _call("trace", node.prompt, node.answer, _flag(node.decompose), *_bounds(node.layers), positions)
    return exp.select(*_columns(_TRACE)).from_(source).order_by("layer", "position", "rank")


# Browsing the tables


def _show_layers(node: nodes.ShowLayers) -> exp.Select:
    select = _template("SELECT layer, band, features, labelled, gate_norm, down_norm FROM layers ORDER BY layer")
    if node.layers is None:
        return select
    between = exp.Between(this=exp.column("layer"), low=_value(node.layers.first), high=_value(node.layers.last))
    return select.where(between)


_FEATURES = """
SELECT layer, feature, token, also, relation, score, source FROM (
  SELECT layer, feature, token,
    (SELECT json_group_array(text) FROM (
       SELECT t.text FROM feature_tokens AS other JOIN tokens AS t USING (token_id)
       WHERE other.layer = features.layer AND other.feature = features.feature AND other.rank > 1 ORDER BY other.rank
    )) AS also,
    relation, score, label_source AS source, label_source, expert, token_id, gate_norm, up_norm, down_norm
  FROM features
  UNION ALL
  SELECT layer, feature, token, also, relation, score, source, source, NULL, NULL, gate_norm, up_norm, down_norm
  FROM added_features
) ORDER BY feature
"""


def _show_features(node: nodes.ShowFeatures) -> exp.Select:
    select = _template(_FEATURES).where(_equals("layer", node.layer))
    if node.where is not None:
        select = select.where(_raw(f"({fragment_sql(node.where, FEATURE_COLUMNS)})"))
    return _limit(select, node.limit)


def _show_entities(node: nodes.ShowEntities) -> exp.Select:
    select = _template("SELECT entity, features, edges, score FROM entities ORDER BY edges DESC, features DESC, entity")
    if node.layer is not None:
        select = select.where(_equals("layer", node.layer))
    return _limit(select, node.limit)


def _limit(select: exp.Select, limit: Value) -> exp.Select:
    return select if limit is None else select.limit(_value(limit))


_MODELS = """
SELECT max(value) FILTER (WHERE key = 'source') AS model,
  max(value) FILTER (WHERE key = 'architecture') AS architecture,
  max(value) FILTER (WHERE key = 'layers') AS layers, max(value) FILTER (WHERE key = 'hidden_size') AS hidden_size,
  max(value) FILTER (WHERE key = 'parameters') AS parameters, max(value) FILTER (WHERE key = 'level') AS level,
  max(value) FILTER (WHERE key = 'fingerprint') AS fingerprint
FROM model
"""
_PATCHES = """
SELECT patch, (SELECT count(*) FROM patch_ops AS o WHERE o.patch = patches.patch) AS operations, active, created_at
FROM patches ORDER BY position
"""
_COMPACT_STATUS = """
SELECT CASE operation WHEN 'insert_knn' THEN 'MINOR' ELSE 'MAJOR' END AS compaction, count(*) AS waiting,
  count(DISTINCT layer) AS layers
FROM inserted_facts GROUP BY compaction ORDER BY compaction DESC
"""


def _show_relations(node: nodes.ShowRelations) -> exp.Select:
    """Relations named by features, by edges or by users, with what bears them.

    Examples are facts, those at the layer first, or where there are none (clusters and patterns) the tokens that
    features promote most.
    """
    raw = node.detail == "raw"
    at_layer = " AND layer = :layer" if node.layer is not None else ""
    bears = "relation = named.relation" + (" AND layer = named.layer" if raw else at_layer)
    key = "relation, layer" if raw else "relation"
    named = (
        f"SELECT {key} FROM edges WHERE layer IS NOT NULL{at_layer} "
        f"UNION SELECT {key} FROM features WHERE relation IS NOT NULL{at_layer}"
    )
    if not raw and not at_layer:  # those that no layer bears as well
        named = (
            "SELECT name AS relation FROM relations UNION SELECT relation FROM edges "
            "UNION SELECT relation FROM features WHERE relation IS NOT NULL"
        )
    columns = [
        "relation",
        f"(SELECT count(*) FROM features WHERE {bears}) AS features",
        f"(SELECT count(*) FROM edges WHERE {bears}) AS edges",
        f"(SELECT json_group_array(layer) FROM (SELECT layer FROM features WHERE {bears} UNION "
        f"SELECT layer FROM edges WHERE {bears} AND layer IS NOT NULL ORDER BY layer)) AS layers",
        "(SELECT source FROM relations WHERE name = named.relation) AS source",
        f"coalesce((SELECT nullif(json_group_array(fact), '[]') FROM (SELECT entity || ' → ' || target AS fact "
        f"FROM edges WHERE relation = named.relation ORDER BY ({bears}) DESC, confidence DESC, score DESC, entity "
        "LIMIT 3)), "
        f"(SELECT json_group_array(token) FROM (SELECT token FROM features WHERE {bears} "
        "GROUP BY token ORDER BY max(score) DESC, token LIMIT 3))) AS examples"
        if node.examples
        else "NULL AS examples",
    ]
    if node.detail == "verbose":
        columns += (
            "(SELECT description FROM relations WHERE name = named.relation) AS description",
            "(SELECT json_group_array(template) FROM relation_templates WHERE relation = named.relation) AS templates",
            f"(SELECT avg(confidence) FROM edges WHERE {bears}) AS confidence",
        )
    order = "relation, layer" if raw else "edges DESC, features DESC, relation"
    limit = " LIMIT 20" if node.detail == "brief" else ""
    sql = f"SELECT {', '.join(columns)} FROM ({named}) AS named ORDER BY {order}{limit}"
    return _template(sql) if node.layer is None else _template(sql, layer=_value(node.layer))


def _stats(node: nodes.Stats) -> exp.Select:
    return exp.select("property", "value").from_(_call("stats", node.path)).order_by("property")


def _diff(node: nodes.Diff) -> exp.Select:
    columns = [exp.column(name, quoted=name == "where") for name in ("what", "where", "how_many", "bytes")]
    select = exp.select(*columns, "layer", "relation").from_(_call("diff", node.left, node.right))
    if node.layer is not None:
        select = select.where(_equals("layer", node.layer))
    if node.relation is not None:
        select = select.where(_equals("relation", node.relation))
    return _limit(select.order_by("layer", "what", exp.column("where", quoted=True)), node.limit)


# NEAREST TO inside SQL

_NEAREST = {
    "edges": "SELECT edges.*, distance FROM {match} AS g JOIN edges USING (layer, feature) "
    "ORDER BY distance, feature, target",
    "features": "SELECT features.*, distance FROM {match} AS g JOIN features USING (layer, feature) "
    "ORDER BY distance, feature",
    "entities": "SELECT entities.*, min(distance) AS distance FROM {match} AS g JOIN edges USING (layer, feature) "
    "JOIN entities ON entities.entity = edges.entity GROUP BY entities.entity "
    "ORDER BY distance, entities.entity",
}


def _nearest(near: nodes.Nearest) -> str:
    text = sql_string(near.text) if isinstance(near.text, str) else near.text
    sql = _NEAREST[near.table].format(match=f"gate_match({text}, NULL, {near.layer})")
    alias = near.table if near.alias is None else '"' + near.alias.replace('"', '""') + '"'
    return f"({sql}) AS {alias}"


_LOWER: dict[type[nodes.Statement], Callable[[Any], exp.Select]] = {
    nodes.Describe: _describe,
    nodes.Diff: _diff,
    nodes.ExplainInfer: _explain,
    nodes.ExplainWalk: _explain,
    nodes.Infer: _infer,
    nodes.ShowCompactStatus: lambda _: _template(_COMPACT_STATUS),
    nodes.ShowEntities: _show_entities,
    nodes.ShowFeatures: _show_features,
    nodes.ShowLayers: _show_layers,
    nodes.ShowModels: lambda _: _template(_MODELS),
    nodes.ShowPatches: lambda _: _template(_PATCHES),
    nodes.ShowRelations: _show_relations,
    nodes.Stats: _stats,
    nodes.Trace: _trace,
    nodes.Walk: _walk,
}
