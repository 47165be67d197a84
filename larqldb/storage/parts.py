"""The parts of a vindex: what a slice holds, and what it says of a statement that needs more.

    knowledge    edges, what probing asked and found, the relations of features, names
    features     what each feature promotes
    gates        gate vectors: what features answer to
    embeddings   input embeddings, the head and the last norm
    attention    attention weights
    ffn          gate, up and down vectors
    edits        patches

``browse`` is all of them but attention and ffn. Gates, attention and ffn may be of some layers only: ``ffn:10-20``. All
slices hold the model's properties and files, its vocabulary, layers, wordings and facts, and the names, shapes and
checksums of all its tensors. A slice's ``parts`` and ``lacks`` are properties in the table ``model``, JSON arrays;
files that hold everything have neither.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from larqldb.errors import MissingPart, ProgrammingError

if TYPE_CHECKING:
    import apsw

# The tables of each part; those of no part are in every slice, tensors go by their roles.
TABLES: dict[str, tuple[str, ...]] = {
    "knowledge": (
        "entities", "edge_records", "probes", "edge_evidence", "edge_features", "relation_domains", "calibration",
        "feature_relations", "not_asked", "traces", "trace_layers",
    ),
    "features": ("features", "feature_tokens"),
    "gates": (),
    "embeddings": (),
    "attention": (),
    "ffn": (),
    "edits": ("patches", "patch_ops", "hidden_edges", "edit_background"),
}  # fmt: skip
ANYWAY = ("edits",)  # a slice without these can be read all the same: it is the model before them
GROUPS = {"browse": ("knowledge", "features", "gates", "embeddings", "edits")}
NETWORK = ("embeddings", "attention", "ffn")
LAYERED = ("gates", "attention", "ffn")
ROLES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("embed", "positions", "head", "final_norm"), ("embeddings",)),
    **dict.fromkeys(("gate", "ffn_norm"), ("gates", "ffn")),
    **dict.fromkeys(("up", "down", "post_ffn_norm"), ("ffn",)),
}  # all others are of attention
FUNCTIONS = {
    "describe": ("knowledge", "features", "gates", "embeddings"),
    "walk": ("features", "gates", "embeddings"),
    "explain_infer": ("features", "embeddings", "attention", "ffn"),
}
_PART = re.compile(r"(\w+)(?::(\d+)(?:-(\d+))?)?")


@dataclass(frozen=True, order=True)
class Part:
    """A part; ``first`` and ``last`` are the layers it is of, None: all."""

    name: str
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        if self.first is None:
            return self.name
        return f"{self.name}:{self.first}" + (f"-{self.last}" if self.last != self.first else "")

    def covers(self, layer: int | None) -> bool:
        """Whether it is of a layer."""
        return self.first is None or self.last is None or layer is None or self.first <= layer <= self.last


def parse(texts: Iterable[str], layers: int) -> tuple[Part, ...]:
    """The parts that texts name, in the order of this module, each once; ``browse`` stands for what it is made of.

    Raises ProgrammingError for a part that there is not, or layers that the model has not.
    """
    found: dict[str, Part] = {}
    for text in texts:
        match = _PART.fullmatch(text.strip())
        name = match.group(1).lower() if match else text
        if match is None or (name not in TABLES and name not in GROUPS):
            near = difflib.get_close_matches(name, [*TABLES, *GROUPS], 1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join([*GROUPS, *TABLES])}"
            raise ProgrammingError(f"there is no part {text!r}. {hint}")
        first = None if match.group(2) is None else int(match.group(2))
        last = first if match.group(3) is None else int(match.group(3))
        if first is not None and name not in LAYERED:
            raise ProgrammingError(f"{text}: {name} is not apart by layers; {', '.join(LAYERED)} are")
        if first is not None and last is not None and not first <= last < layers:
            raise ProgrammingError(f"{text}: the model has layers 0-{layers - 1}")
        for one in GROUPS.get(name, (name,)):
            if one in found and found[one] != Part(one, first, last):
                raise ProgrammingError(f"{text}: {one} is named twice, of different layers")
            found[one] = Part(one, first, last) if (first, last) != (0, layers - 1) else Part(one)
    if not found:
        raise ProgrammingError(f"no part is named. There are: {', '.join([*GROUPS, *TABLES])}")
    return tuple(found[name] for name in TABLES if name in found)


def part_of(role: str) -> tuple[str, ...]:
    """The parts that any one of which holds a tensor of a role."""
    return ROLES.get(role.removesuffix("_bias"), ("attention",))


def keeps(parts: Sequence[Part], role: str, layer: int | None) -> bool:
    """Whether parts hold a tensor; ``role`` may be several joined by +. What is redundant goes with the whole model."""
    if role == "redundant":
        return {Part(name) for name in NETWORK} <= set(parts)
    wanted = {name for one in role.split("+") for name in part_of(one)}
    return any(part.name in wanted and part.covers(layer) for part in parts)


def held(db: apsw.Connection) -> tuple[Part, ...] | None:
    """The parts a slice holds; None for a file that holds everything its level has."""
    found = db.execute("SELECT value FROM model WHERE key = 'parts'").fetchone()
    if found is None:
        return None
    layers = db.execute("SELECT value FROM model WHERE key = 'layers'").get
    return parse(json.loads(found[0]), layers)


def lacking(db: apsw.Connection) -> Mapping[str, frozenset[str]]:
    """The tables and functions that need parts which a slice lacks, with those; empty for files that hold everything.

    Of parts that are of some layers, functions say themselves when they need others.
    """
    parts = held(db)
    if parts is None:
        return {}
    names = {part.name for part in parts} | set(ANYWAY)
    names |= {"gates"} if "ffn" in names else set()
    needs = {table: (part,) for part, tables in TABLES.items() for table in tables} | FUNCTIONS
    return {name: frozenset(needed) - names for name, needed in needs.items() if not names.issuperset(needed)}


def remedy(db: apsw.Connection, needed: Iterable[str]) -> str | None:
    """What adds parts that a slice lacks; None for a file that is no slice."""
    have = held(db)
    if have is None:
        return None
    if db.execute("SELECT 1 FROM model WHERE key = 'vindexfile'").fetchone():
        return "Build it again with EXPOSE all in its Vindexfile: larqldb build -o NAME.vindex"
    source = db.execute("SELECT value FROM model WHERE key = 'sliced_from'").get
    wanted = {part.name: str(part) for part in have} | {name: name for name in needed}
    names = ",".join(wanted[name] for name in TABLES if name in wanted)
    return f"Slice the whole again: larqldb slice {source} --parts {names} -o NAME.vindex"


def missing(db: apsw.Connection, statement: str, needed: Iterable[str]) -> MissingPart:
    """The error of a statement that needs parts which a slice lacks."""
    names = [name for name in TABLES if name in set(needed)]
    what = f"the part{'s' * (len(names) > 1)} {', '.join(names)}"
    return MissingPart(statement=statement, part=what, remedy=remedy(db, names))
