"""Exports say what the rows say, to readers that others wrote."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import apsw
import networkx
import pytest
import rdflib
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rdflib.namespace import RDF, RDFS

from larqldb.errors import ProgrammingError
from larqldb.knowledge import export as module
from larqldb.knowledge.export import COLUMNS, FORMATS, MEASURES, export, node_id
from larqldb.storage.database import MEMORY, open_database

Row = tuple[Any, ...]
TERM = rdflib.Namespace("urn:larqldb:term:")
ODD = (
    "quote \" ' backslash \\ line\nbreak \r tab\t nul\0 bell\x07 del\x7f nel\x85 ls\u2028 \ufffe \U0001f701 "
    "\U0001f469\u200d\U0001f680 مرحبا \u202eabc % <&>]]> é {}^`|"
)

EDGES: list[Row] = [
    ("France", "capital", "Paris", 27, 1392, 1.65, 0.98, 0.953, 1.0, "probe"),
    ("France", "borders", "Spain", 29, 12, -0.5, 0.25, 1e-7, 1 / 3, "probe"),
    ("Spain", "borders", "France", None, None, None, 0.75, 0.5, 0.5, "probe"),
    ("France", "associates", "Paris", 3, 4, 5.5, None, None, None, "static"),
    ("New York", "part of", "United States, the", None, None, None, None, None, None, "user"),
    (ODD, ODD, ODD[::-1], 0, 0, 0.0, 0.5, 0.5, 0.5, ODD),
    ("", "named", "", 1, 1, float("inf"), 0.0, 0.0, 0.0, "user"),
]


@pytest.fixture
def db() -> Iterator[apsw.Connection]:
    with_edges = database(EDGES)
    yield with_edges
    with_edges.close()


def database(edges: list[Row]) -> apsw.Connection:
    made = open_database(MEMORY)
    made.execute("INSERT INTO model VALUES ('fingerprint', 'abc123')")
    marks = ", ".join("?" * len(COLUMNS))
    made.executemany(f"INSERT INTO edge_records ({', '.join(COLUMNS)}) VALUES ({marks})", edges)
    return made


def text(db: apsw.Connection, form: str, **chosen: Any) -> str:
    return "".join(export(db, form, **chosen))


# What others read


def read_csv(whole: str) -> list[Row]:
    header, *rows = csv.reader(io.StringIO(whole, newline=""))
    assert tuple(header) == COLUMNS
    integers = {"layer", "feature"}
    kinds = [int if name in integers else float if name in MEASURES else str for name in COLUMNS]
    return [
        tuple(None if kind is not str and not cell else kind(cell) for kind, cell in zip(kinds, row, strict=True))
        for row in rows
    ]


def read_jsonl(whole: str) -> list[Row]:
    *lines, rest = whole.split("\n")
    assert rest == ""
    rows = [json.loads(line) for line in lines]
    assert all(tuple(row) == COLUMNS for row in rows)
    return [tuple(row.values()) for row in rows]


def read_graphml(whole: str) -> list[Row]:
    graph = networkx.parse_graphml(whole.encode(), force_multigraph=True)
    names = networkx.get_node_attributes(graph, "name")
    assert set(names) == set(graph)
    edges = sorted(graph.edges(keys=True, data=True), key=lambda edge: int(edge[2][1:]))
    return [
        tuple({**about, "entity": names[source], "target": names[target]}.get(name) for name in COLUMNS)
        for source, target, _, about in edges
    ]


def read_turtle(whole: str) -> list[Row]:
    """Rows in no order; every statement must stand as a triple as well."""
    graph = rdflib.Graph().parse(data=whole.encode(), format="turtle")
    rows = []
    for statement in graph.subjects(RDF.type, RDF.Statement):
        triple = tuple(graph.value(statement, part) for part in (RDF.subject, RDF.predicate, RDF.object))
        assert triple in graph
        assert graph.value(statement, TERM.model) == rdflib.URIRef("urn:larqldb:model:abc123")
        entity, relation, target = (str(graph.value(name, RDFS.label)) for name in triple)
        values = {"entity": entity, "relation": relation, "target": target}
        for name in (*MEASURES, "source"):
            found = graph.value(statement, TERM[name])
            values[name] = None if found is None else found.toPython()
        rows.append(tuple(values[name] for name in COLUMNS))
    return rows


READERS = {"turtle": read_turtle, "graphml": read_graphml, "csv": read_csv, "jsonl": read_jsonl}


def as_xml(value: object) -> object:
    """What is left of a text in XML: characters that it cannot hold are replaced."""
    allowed = "".join(map(chr, (*range(32), 0xFFFE, 0xFFFF))).translate({9: None, 10: None, 13: None})
    return value.translate(str.maketrans(dict.fromkeys(allowed, "\ufffd"))) if isinstance(value, str) else value


def expected(rows: list[Row], form: str) -> list[Row]:
    return [tuple(map(as_xml, row)) for row in rows] if form == "graphml" else rows


def same(found: list[Row], rows: list[Row], form: str) -> bool:
    wanted = expected(rows, form)
    return sorted(found, key=repr) == sorted(wanted, key=repr) if form == "turtle" else found == wanted


@pytest.mark.parametrize("form", FORMATS)
def test_other_readers_get_the_rows_back(db: apsw.Connection, form: str) -> None:
    assert same(READERS[form](text(db, form)), EDGES, form)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.text(
    st.sampled_from("a_x20 \"'\\\n\r\t\0\x01\x1f\x7f\x85<>&;,%{}|^`#?/:.é\u200b\u202e\u2028\ufeff\ufffe\uffff東🜁"),
    max_size=8,
)
NUMBERS = st.floats(allow_nan=False)
ROWS = st.tuples(
    TEXTS, TEXTS, TEXTS, st.none() | st.integers(0, 200), st.none() | st.integers(0, 1 << 20),
    st.none() | NUMBERS, st.none() | NUMBERS, st.none() | NUMBERS, st.none() | NUMBERS, TEXTS,
)  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=50, deadline=None)
@given(rows=st.lists(ROWS, max_size=3, unique_by=lambda row: row[:3]))
@example(
    rows=[
        (ODD, "r", "a _", None, None, None, None, None, None, "s"),
        ("a x", "", "a_x", 1, 2, -0.0, 1e300, 5e-324, 1.0, ""),
    ]
)
def test_any_text_comes_back(form: str, rows: list[Row]) -> None:
    db = database(rows)
    try:
        found = READERS[form](text(db, form))
    finally:
        db.close()
    if form == "csv":  # it cannot tell nothing from an empty text, but no text is NULL here
        found = [
            tuple(
                "" if value is None and name not in MEASURES else value
                for name, value in zip(COLUMNS, row, strict=True)
            )
            for row in found
        ]
    assert same(found, rows, form)


@given(st.lists(TEXTS, unique=True, max_size=6))
@example([" x2C_", ",", "_", " ", "", "_x_", "  x", "a b", "a_b"])
def test_ids_of_nodes_tell_names_apart_and_are_tokens_of_xml(names: list[str]) -> None:
    ids = [node_id(name) for name in names]
    assert len(set(ids)) == len(names)
    assert all(one and not set(one) & set(" \t\r\n\"'<>&,:") for one in ids)


def test_ids_of_nodes_read_like_their_names() -> None:
    assert [node_id(name) for name in ("France", "New York", "São Tomé", "東京", "A.B-1", "a, b")] == [
        "France", "New_York", "São_Tomé", "東京", "A.B-1", "a_x2C__b",
    ]  # fmt: skip


# What is chosen


@pytest.mark.parametrize(
    ("chosen", "rows"),
    [
        ({"least": 0.5}, [0, 2, 5]),
        ({"least": 0.0}, [0, 1, 2, 5, 6]),
        ({"relations": ["borders", "capital"]}, [0, 1, 2]),
        ({"sources": ["static", "user"]}, [3, 4, 6]),
        ({"least": 0.5, "relations": ["borders"], "sources": ["probe"]}, [2]),
        ({"relations": ["'; DROP TABLE edge_records; --"]}, []),
    ],
)
@pytest.mark.parametrize("form", FORMATS)
def test_edges_are_chosen(db: apsw.Connection, form: str, chosen: dict[str, Any], rows: list[int]) -> None:
    assert same(READERS[form](text(db, form, **chosen)), [EDGES[row] for row in rows], form)


def test_nodes_are_those_of_the_chosen_edges(db: apsw.Connection) -> None:
    graph = networkx.parse_graphml(text(db, "graphml", relations=["capital"]))
    assert sorted(graph) == ["France", "Paris"]
    assert graph.is_directed()
    assert type(graph.edges["France", "Paris"]["layer"]) is int
    assert type(graph.edges["France", "Paris"]["confidence"]) is float


def test_a_triple_store_answers_questions(db: apsw.Connection) -> None:
    graph = rdflib.Graph().parse(data=text(db, "turtle"), format="turtle")
    question = """
        PREFIX term: <urn:larqldb:term:>
        SELECT ?name ?confidence WHERE {
          <urn:larqldb:entity:France> <urn:larqldb:relation:capital> ?city . ?city rdfs:label ?name .
          ?said rdf:subject <urn:larqldb:entity:France> ; rdf:predicate <urn:larqldb:relation:capital> ;
                rdf:object ?city ; term:confidence ?confidence . }"""
    ((name, confidence),) = graph.query(question)
    assert (str(name), confidence.toPython()) == ("Paris", 0.98)


def test_json_of_numbers_past_the_largest_is_what_sqlite_reads(db: apsw.Connection) -> None:
    line = text(db, "jsonl").split("\n")[6]
    assert '"score": 9e999,' in line
    assert sqlite3.connect(":memory:").execute("SELECT json_extract(?, '$.score')", (line,)).fetchone() == (
        float("inf"),
    )


def test_a_file_without_edges_gives_whole_documents() -> None:
    db = database([])
    try:
        for form, read in READERS.items():
            assert read(text(db, form)) == []
    finally:
        db.close()


def test_rows_are_read_as_they_are_written(db: apsw.Connection) -> None:
    for form in FORMATS:
        pieces = export(db, form)
        first = next(pieces)
        assert len(first) < len(first + "".join(pieces)) / 2


def test_another_format_is_refused(db: apsw.Connection) -> None:
    with pytest.raises(ProgrammingError, match="the format must be one of turtle, graphml, csv, jsonl, not 'xml'"):
        export(db, "xml")
    assert module.FORMATS.keys() == READERS.keys()
