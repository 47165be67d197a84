"""The edges of a vindex in formats that other tools read: RDF (Turtle), GraphML, CSV and JSON lines.

Rows are read as they are written, so that a file of any size takes little memory. All text is UTF-8.

Turtle: names are IRIs, ``urn:larqldb:entity:…`` and ``urn:larqldb:relation:…``, percent-encoded (RFC 3986), each with
its ``rdfs:label``. An edge is the triple itself and a ``rdf:Statement`` about it, with what is known of it under
``urn:larqldb:term:`` and the model that said so, ``urn:larqldb:model:FINGERPRINT``.
https://www.w3.org/TR/turtle/, https://www.w3.org/TR/rdf11-mt/#whatnot

GraphML: a node's id is its name with what an XML NMTOKEN cannot hold escaped (``node_id``), its ``name`` the name
itself. Characters that XML 1.0 cannot hold are U+FFFD there. http://graphml.graphdrawing.org/specification.html
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from larqldb.errors import ProgrammingError

if TYPE_CHECKING:
    import apsw

COLUMNS = (
    "entity", "relation", "target", "layer", "feature", "score", "confidence", "probability", "agreement", "source",
)  # fmt: skip
MEASURES = COLUMNS[3:9]
Row = tuple[Any, ...]
Chosen = tuple[str, tuple[Any, ...]]  # FROM and WHERE of the edges wanted, and its parameters


def export(
    db: apsw.Connection,
    form: str,
    *,
    least: float | None = None,
    relations: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> Iterator[str]:
    """The edges as a text in pieces, in the order in which they were written to the file.

    ``form`` is one of ``FORMATS``. ``least`` leaves out edges whose confidence is lower or unknown; ``relations`` and
    ``sources``, where given, all others. Raises ProgrammingError for another format.
    """
    if form not in FORMATS:
        raise ProgrammingError(f"the format must be one of {', '.join(FORMATS)}, not {form!r}")
    return FORMATS[form](db, _chosen(least, relations, sources))


def _chosen(least: float | None, relations: Sequence[str], sources: Sequence[str]) -> Chosen:
    parameters: list[Any] = []
    conditions = ["edge_id NOT IN hidden_edges"]
    if least is not None:
        conditions.append("confidence >= ?")
        parameters.append(least)
    for column, wanted in (("relation", relations), ("source", sources)):
        if wanted:
            conditions.append(f"{column} IN ({', '.join('?' * len(wanted))})")
            parameters += wanted
    return f"FROM edge_records WHERE {' AND '.join(conditions)}", tuple(parameters)


def _edges(db: apsw.Connection, chosen: Chosen) -> Iterator[Row]:
    """edge_id, then the columns."""
    sql, parameters = chosen
    return iter(db.execute(f"SELECT edge_id, {', '.join(COLUMNS)} {sql} ORDER BY edge_id", parameters))


def _names(db: apsw.Connection, chosen: Chosen) -> Iterator[str]:
    """What edges are between, each once."""
    sql, parameters = chosen
    found = db.execute(f"SELECT entity {sql} UNION SELECT target {sql} ORDER BY 1", parameters * 2)
    return (name for (name,) in found)


def _csv(db: apsw.Connection, chosen: Chosen) -> Iterator[str]:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")  # so that it quotes both, which Python 3.11 does not otherwise
    for row in chain([COLUMNS], (row[1:] for row in _edges(db, chosen))):
        writer.writerow(row)
        yield text.getvalue().removesuffix("\r\n") + "\n"
        text.seek(0)
        text.truncate()


def _jsonl(db: apsw.Connection, chosen: Chosen) -> Iterator[str]:
    for row in _edges(db, chosen):
        fields = (f'"{name}": {_json(value)}' for name, value in zip(COLUMNS, row[1:], strict=True))
        yield f"{{{', '.join(fields)}}}\n"


def _json(value: object) -> str:
    if isinstance(value, float) and math.isinf(value):
        return "9e999" if value > 0 else "-9e999"  # as SQLite's own JSON functions write it
    return json.dumps(value, ensure_ascii=False)


# Turtle

_PREFIXES = """\
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
@prefix term: <urn:larqldb:term:> .

"""
# What a quoted literal cannot hold (https://www.w3.org/TR/turtle/#sec-escapes), and what readers might not keep.
_NOT_LITERAL = re.compile(r'[\x00-\x1f"\\\x7f-\x9f\u2028\u2029\ufffe\uffff]')
_SHORT = {"\t": r"\t", "\b": r"\b", "\n": r"\n", "\r": r"\r", "\f": r"\f", '"': r"\"", "\\": r"\\"}


def iri(kind: str, name: str) -> str:
    """The IRI of an entity, relation or model, in angle brackets."""
    return f"<urn:larqldb:{kind}:{quote(name, safe='')}>"


def _literal(text: str) -> str:
    return '"' + _NOT_LITERAL.sub(lambda found: _SHORT.get(found[0], f"\\u{ord(found[0]):04X}"), text) + '"'


def _number(value: Any) -> str:
    """A number as a literal of xsd:integer or xsd:double; text where a row holds that in a number's place."""
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, float):
        return _literal(str(value))
    shown = {float("inf"): "INF", float("-inf"): "-INF"}.get(value, repr(value))
    return f'"{shown}"^^xsd:double'


def _turtle(db: apsw.Connection, chosen: Chosen) -> Iterator[str]:
    fingerprint = db.execute("SELECT value FROM model WHERE key = 'fingerprint'").fetchone()
    model = iri("model", str(fingerprint[0])) if fingerprint else None
    yield _PREFIXES
    for name in _names(db, chosen):
        yield f"{iri('entity', name)} rdfs:label {_literal(name)} .\n"
    sql, parameters = chosen
    for (name,) in db.execute(f"SELECT DISTINCT relation {sql} ORDER BY 1", parameters):
        yield f"{iri('relation', name)} a rdf:Property ; rdfs:label {_literal(name)} .\n"
    for row in _edges(db, chosen):
        about = dict(zip(COLUMNS, row[1:], strict=True))
        subject, predicate, thing = (
            iri("entity", about["entity"]),
            iri("relation", about["relation"]),
            iri("entity", about["target"]),
        )
        said = [f"term:{name} {_number(about[name])}" for name in MEASURES if about[name] is not None]
        said.append(f"term:source {_literal(about['source'])}")
        if model is not None:
            said.append(f"term:model {model}")
        yield (
            f"\n{subject} {predicate} {thing} .\n"
            f"[] a rdf:Statement ; rdf:subject {subject} ; rdf:predicate {predicate} ; rdf:object {thing} ;\n"
            f"  {' ; '.join(said)} .\n"
        )


# GraphML

_HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">
<key id="name" for="node" attr.name="name" attr.type="string"/>
"""
_TYPES = {"relation": "string", "source": "string", "layer": "int", "feature": "int"}  # the others are double
_ATTRIBUTES = [name for name in COLUMNS if name not in ("entity", "target")]
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # https://www.w3.org/TR/xml/#charsets
# What names of nodes may hold as they are: https://www.w3.org/TR/xml/#NT-NameChar, but for "_", which escapes others,
# and a colon, which is for namespaces.
_NOT_IN_ID = re.compile(
    r"[^-.0-9A-Za-z\u00b7\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u037d\u037f-\u1fff\u200c\u200d\u203f\u2040\u2070-\u218f"
    r"\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff]"
)


def node_id(name: str) -> str:
    """The id of a node, no two names having the same: a space is ``_``, what an id cannot hold ``_x2C_`` (its code).

    A space before an x is ``_x20_``, so that it is not taken for the beginning of a code; no name at all is ``_x_``.
    """
    if not name:
        return "_x_"

    def escaped(found: re.Match[str]) -> str:
        character = found[0]
        return "_" if character == " " and name[found.end() : found.end() + 1] != "x" else f"_x{ord(character):X}_"

    return _NOT_IN_ID.sub(escaped, name)


def _text(value: object) -> str:
    return escape(_NOT_XML.sub("\ufffd", str(value)), {"\r": "&#13;"})


def _value(value: object) -> str:
    """A value of ``data``; infinity as XML Schema writes it."""
    return _text(str(value).replace("inf", "INF") if isinstance(value, float) else value)


def _graphml(db: apsw.Connection, chosen: Chosen) -> Iterator[str]:
    yield _HEAD
    for name in _ATTRIBUTES:
        yield f'<key id="{name}" for="edge" attr.name="{name}" attr.type="{_TYPES.get(name, "double")}"/>\n'
    yield '<graph edgedefault="directed">\n'
    for name in _names(db, chosen):
        yield f'<node id={quoteattr(node_id(name))}><data key="name">{_text(name)}</data></node>\n'
    for edge_id, *row in _edges(db, chosen):
        about = dict(zip(COLUMNS, row, strict=True))
        ends = (quoteattr(node_id(about[end])) for end in ("entity", "target"))
        data = "".join(
            f'<data key="{name}">{_value(about[name])}</data>' for name in _ATTRIBUTES if about[name] is not None
        )
        yield '<edge id="e{}" source={} target={}>{}</edge>\n'.format(edge_id, *ends, data)
    yield "</graph>\n</graphml>\n"


FORMATS: dict[str, Callable[[apsw.Connection, Chosen], Iterator[str]]] = {
    "turtle": _turtle,
    "graphml": _graphml,
    "csv": _csv,
    "jsonl": _jsonl,
}
