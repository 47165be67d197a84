"""LQL statements as data: one frozen dataclass each.

    Statement
    ├── Sql         not LQL: goes to SQLite byte for byte
    ├── Query       becomes one SELECT (`larqldb.lql.to_sql`)
    └── Command     changes something; the connection carries it out

`larqldb.lql.render` prints a node back as LQL, and parsing that gives the same node. Choices (modes, bands, formats)
are lower-case strings. ``None`` is a clause that was not given, unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Parameter:
    """``?`` (numbered in the order of the text, from 1) or ``:name``."""

    key: int | str

    def __str__(self) -> str:
        return f"?{self.key}" if isinstance(self.key, int) else f":{self.key}"


Text: TypeAlias = str | Parameter
Integer: TypeAlias = int | Parameter
Number: TypeAlias = int | float | Parameter


@dataclass(frozen=True, slots=True)
class Layers:
    """Layers ``first`` to ``last``, both included."""

    first: Integer
    last: Integer


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of SQL inside an LQL statement, such as a condition.

    ``text`` is in LQL's spelling (backslash escapes in strings, ``?`` numbered, comments removed);
    `larqldb.lql.fragment_sql` gives SQLite's.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Nearest:
    """``EDGES NEAREST TO "Mozart" AT LAYER 26 [AS alias]`` inside a SELECT."""

    table: str  # edges, features or entities
    text: Text
    layer: Integer
    alias: str | None = None


class Statement:
    """Anything `larqldb.lql.parse` returns."""

    __slots__ = ()


class Query(Statement):
    """A statement that becomes one SELECT."""

    __slots__ = ()


class Command(Statement):
    """A statement that changes something and has no SELECT."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Sql(Statement):
    """A statement that is not LQL, exactly as written."""

    text: str


@dataclass(frozen=True, slots=True)
class Select(Query):
    """SQL with ``NEAREST TO`` in it: the SQL's text, with a `Nearest` wherever the clause stood."""

    parts: tuple[str | Nearest, ...]


@dataclass(frozen=True, slots=True)
class Pipe(Query):
    """``a |> b |> c``: the rows of each stage are the table ``_`` of the next."""

    stages: tuple[Statement, ...]


# Browsing and running the model


@dataclass(frozen=True, slots=True)
class Walk(Query):
    """WALK: the features a prompt passes through."""

    prompt: Text
    top: Integer | None = None
    layers: Layers | None = None  # None: all
    mode: str | None = None  # hybrid, pure, dense
    compare: bool = False


@dataclass(frozen=True, slots=True)
class Infer(Query):
    """INFER: the next token, or with ``generate`` that many tokens of text."""

    prompt: Text
    top: Integer | None = None
    compare: bool = False
    generate: Integer | None = None


@dataclass(frozen=True, slots=True)
class Describe(Query):
    """DESCRIBE: what the model's features say about an entity."""

    entity: Text
    layer: Integer | None = None
    band: str | None = None  # syntax, knowledge, output, all
    relations_only: bool = False
    detail: str | None = None  # verbose, brief, raw


@dataclass(frozen=True, slots=True)
class ExplainWalk(Query):
    """EXPLAIN WALK: WALK with bands, labels and, on request, what attention did."""

    prompt: Text
    layers: Layers | None = None
    top: Integer | None = None
    verbose: bool = False
    relations_only: bool = False
    attention: bool = False
    band: str | None = None


@dataclass(frozen=True, slots=True)
class ExplainInfer(Query):
    """EXPLAIN INFER: the features that made the answer of INFER."""

    prompt: Text
    layers: Layers | None = None
    top: Integer | None = None
    verbose: bool = False
    relations_only: bool = False
    attention: bool = False
    band: str | None = None


@dataclass(frozen=True, slots=True)
class Trace(Query):
    """TRACE: the residual stream, layer by layer."""

    prompt: Text
    answer: Text | None = None
    decompose: bool = False
    layers: Layers | None = None
    positions: str = "last"  # all, last


@dataclass(frozen=True, slots=True)
class ShowRelations(Query):
    """SHOW RELATIONS."""

    layer: Integer | None = None
    examples: bool = False
    detail: str | None = None  # verbose, brief, raw


@dataclass(frozen=True, slots=True)
class ShowLayers(Query):
    """SHOW LAYERS."""

    layers: Layers | None = None


@dataclass(frozen=True, slots=True)
class ShowFeatures(Query):
    """SHOW FEATURES."""

    layer: Integer
    where: Fragment | None = None
    limit: Integer | None = None


@dataclass(frozen=True, slots=True)
class ShowEntities(Query):
    """SHOW ENTITIES."""

    layer: Integer | None = None
    limit: Integer | None = None


@dataclass(frozen=True, slots=True)
class ShowModels(Query):
    """SHOW MODELS."""


@dataclass(frozen=True, slots=True)
class ShowPatches(Query):
    """SHOW PATCHES."""


@dataclass(frozen=True, slots=True)
class ShowCompactStatus(Query):
    """SHOW COMPACT STATUS."""


@dataclass(frozen=True, slots=True)
class Stats(Query):
    """STATS: the properties of this vindex, or of the one named."""

    path: Text | None = None


@dataclass(frozen=True, slots=True)
class Diff(Query):
    """DIFF: what differs between two vindexes; None is the current one."""

    left: Text | None
    right: Text | None
    layer: Integer | None = None
    relation: Text | None = None
    limit: Integer | None = None


# Commands


@dataclass(frozen=True, slots=True)
class DiffIntoPatch(Command):
    """DIFF … INTO PATCH: writes the difference as a patch file; None is the current vindex."""

    left: Text | None
    right: Text | None
    patch: Text
    layer: Integer | None = None
    relation: Text | None = None
    limit: Integer | None = None


@dataclass(frozen=True, slots=True)
class TraceSave(Command):
    """TRACE … SAVE: writes the rows of the same TRACE to a file."""

    prompt: Text
    save: Text
    answer: Text | None = None
    decompose: bool = False
    layers: Layers | None = None
    positions: str = "last"  # all, last


@dataclass(frozen=True, slots=True)
class Extract(Command):
    """EXTRACT: a model's files into a vindex."""

    model: Text
    target: Text
    components: tuple[str, ...] | None = None
    layers: Layers | None = None
    level: str | None = None  # inference, all, weights


@dataclass(frozen=True, slots=True)
class Use(Command):
    """USE: the vindex that following statements work on."""

    path: Text


@dataclass(frozen=True, slots=True)
class UseModel(Command):
    """USE MODEL: a model by name, extracted first if asked to."""

    model: Text
    auto_extract: bool = False


@dataclass(frozen=True, slots=True)
class UseRemote(Command):
    """USE REMOTE: a vindex on a server."""

    url: Text


@dataclass(frozen=True, slots=True)
class Compile(Command):
    """COMPILE: a vindex with its edits into model files or a new vindex; ``source`` None is the current vindex."""

    source: Text | None
    kind: str  # model, vindex
    target: Text
    format: str | None = None  # safetensors, gguf
    quant: str | None = None  # f32, f16, bf16, q8_0, q4_0, q4_1
    slots: str | None = None  # grow, replace
    on_conflict: str | None = None  # last_wins, highest_confidence, fail


@dataclass(frozen=True, slots=True)
class CompactMinor(Command):
    """COMPACT MINOR: key/value entries become composed features."""


@dataclass(frozen=True, slots=True)
class CompactMajor(Command):
    """COMPACT MAJOR: composed features become one change of the weights."""

    full: bool = False
    ridge: Number | None = None  # λ of the ridge regression


@dataclass(frozen=True, slots=True)
class Insert(Command):
    """INSERT INTO EDGES: each row, or each row of a SELECT, is (entity, relation, target)."""

    rows: tuple[tuple[Text, Text, Text], ...] | Fragment
    layer: Integer | None = None
    confidence: Number | None = None
    alpha: Number | None = None
    mode: str | None = None  # knn, compose
    regression: Number | None = None


@dataclass(frozen=True, slots=True)
class Delete(Command):
    """DELETE FROM EDGES."""

    where: Fragment


@dataclass(frozen=True, slots=True)
class Update(Command):
    """UPDATE EDGES: assignments are (column, value), the value a literal, a parameter or an SQL expression."""

    assignments: tuple[tuple[str, Text | Number | Fragment], ...]
    where: Fragment


@dataclass(frozen=True, slots=True)
class Merge(Command):
    """MERGE: one vindex's edits into another; ``target`` None is the current one."""

    source: Text
    target: Text | None = None
    on_conflict: str | None = None  # keep_source, keep_target, highest_confidence


@dataclass(frozen=True, slots=True)
class Rebalance(Command):
    """REBALANCE: rescale composed features until their answers lie between floor and ceiling."""

    until_converged: bool = False
    maximum: Integer | None = None
    floor: Number | None = None
    ceiling: Number | None = None


@dataclass(frozen=True, slots=True)
class BeginPatch(Command):
    """BEGIN PATCH: edits from here on belong to this patch."""

    patch: Text


@dataclass(frozen=True, slots=True)
class SavePatch(Command):
    """SAVE PATCH: writes the patch to its file; None is the open one."""

    patch: Text | None = None


@dataclass(frozen=True, slots=True)
class ApplyPatch(Command):
    """APPLY PATCH."""

    patch: Text


@dataclass(frozen=True, slots=True)
class RemovePatch(Command):
    """REMOVE PATCH."""

    patch: Text
