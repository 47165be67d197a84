"""Asking about an entity in the middle of a statement: what is stored, where, and what must never be noticed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import apsw
import numpy as np
import pytest

import larqldb
from larqldb.errors import BadPrompt, OperationalError
from larqldb.knowledge import live
from larqldb.knowledge.ask import Answer
from larqldb.knowledge.edges import Edge
from larqldb.knowledge.live import Found
from larqldb.knowledge.pieces import Piece, Written
from larqldb.knowledge.support import Support
from larqldb.storage import edits
from larqldb.storage.edits import Operation


def found(relation: str, target: str, confidence: float) -> Found:
    pieces = (Piece("head", 2, 1, 3.0, 1), Piece("feature", 4, 7, 2.0, 1), Piece("feature", 3, 6, 1.0, 1))
    edge = Edge(target, Support(target, 1.0, 0.8, 1.0), Written(pieces, 10.0))
    return Found(relation, {f"The {relation} of {{entity}} is": Answer(target, 0.8, None)}, ((edge, confidence),))


SAID = [found("river", "Tagus", 0.9), found("capital", "Lisbon", 0.7)]
ROWS = [
    ("river", "Tagus", 2.0, 4, 7, "[3, 4]", 2, 0.9, "probe"),
    ("capital", "Lisbon", 2.0, 4, 7, "[3, 4]", 2, 0.7, "probe"),
]


def make_probed(path: Path) -> None:
    """A file that was probed: it knows what its relations are about, and their wordings."""
    with larqldb.connect(path) as connection:
        for relation in ("river", "capital"):
            connection.execute("INSERT INTO relations VALUES (?, NULL, 'test')", (relation,))
            connection.execute("INSERT INTO relation_domains VALUES (?, 2, x'', 0)", (relation,))
            connection.execute("INSERT INTO relation_templates VALUES (?, '{entity}:')", (relation,))
    connection.close()


class Model:
    """Stands for the model: what it is asked, and what it says."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.relations: list[Sequence[str]] = []
        self.says: list[Found] | BaseException = SAID

    def __call__(self, session: object, entity: str, relations: Sequence[str]) -> list[Found]:
        self.asked.append(entity)
        self.relations.append(relations)
        if isinstance(self.says, BaseException):
            raise self.says
        return self.says


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    model = Model()
    monkeypatch.setattr(live, "ask_about", model)
    return model


@pytest.fixture
def probed(tiny_vindex: Path) -> Path:
    make_probed(tiny_vindex)
    return tiny_vindex


@pytest.fixture
def conn(probed: Path) -> Iterator[larqldb.Connection]:
    connection = larqldb.connect(probed)
    yield connection
    connection.close()


def describe(connection: larqldb.Connection, entity: str = "Portugal") -> list[tuple[object, ...]]:
    sql = (
        "SELECT relation, target, score, layer, feature, layers, hits, confidence, source FROM describe(?) "
        "WHERE source <> 'static'"
    )
    return connection.execute(sql, (entity,)).fetchall()


def stored(path: Path) -> int:
    """How many edges another process finds in the file."""
    code = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone())"
    sql = "SELECT count(*) FROM edges WHERE entity = 'Portugal' AND source = 'probe'"
    done = subprocess.run([sys.executable, "-c", code, str(path), sql], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_it_is_asked_once_and_stored_at_once(conn: larqldb.Connection, probed: Path, model: Model) -> None:
    last = conn.database.last_insert_rowid()
    assert describe(conn, " Portugal ") == ROWS
    assert not conn.in_transaction
    assert stored(probed) == 2
    assert conn.database.last_insert_rowid() == last
    assert describe(conn) == describe(conn, "portugal") == ROWS
    assert model.asked == ["Portugal"]
    wordings = conn.execute("SELECT relation, template, answer FROM probes ORDER BY relation").fetchall()
    assert wordings == [
        ("capital", "The capital of {entity} is", "Lisbon"),
        ("river", "The river of {entity} is", "Tagus"),
    ]


def test_the_statement_itself_stores(conn: larqldb.Connection, probed: Path, model: Model) -> None:
    rows = conn.execute('DESCRIBE "Portugal" BRIEF').fetchall()
    assert [row[:2] for row in rows[:2]] == [("river", "Tagus"), ("capital", "Lisbon")]
    assert stored(probed) == 2


def test_raw_and_layers_see_what_was_just_found(probed: Path, model: Model) -> None:
    for read_only in (True, False):
        with larqldb.connect(probed, read_only=read_only) as connection:
            for arguments, layers in (("'Portugal', NULL, NULL, NULL, 0, 'raw'", [4, 3]), ("'Portugal', 3, 3", [3])):
                sql = f"SELECT layer FROM describe({arguments}) WHERE relation = 'river'"
                assert [layer for (layer,) in connection.execute(sql)] == layers
        connection.close()


def test_many_entities_in_one_statement(conn: larqldb.Connection, model: Model) -> None:
    sql = (
        'SELECT e.value, count(*) FROM json_each(\'["a", "b", "a"]\') AS e JOIN describe(e.value) AS d '
        "WHERE d.source = 'probe' GROUP BY e.key"
    )
    assert conn.execute(sql).fetchall() == [("a", 2), ("b", 2), ("a", 2)]
    assert model.asked == ["a", "b"]
    assert conn.execute("SELECT count(*) FROM edges WHERE source = 'probe'").fetchone() == (4,)


def test_a_file_never_probed_is_not_asked(tiny_vindex: Path, model: Model) -> None:
    with larqldb.connect(tiny_vindex) as connection:
        assert describe(connection) == []
    connection.close()
    assert model.asked == []


def test_read_only_connections_remember_instead(probed: Path, model: Model) -> None:
    before = probed.read_bytes()
    with larqldb.connect(probed, read_only=True) as connection:
        assert describe(connection) == describe(connection) == ROWS
        assert describe(connection, "Spain") == ROWS
    connection.close()
    assert model.asked == ["Portugal", "Spain"]
    assert probed.read_bytes() == before


def test_what_is_remembered_ends_when_the_file_changes(probed: Path, model: Model) -> None:
    with larqldb.connect(probed, read_only=True) as reader, larqldb.connect(probed) as writer:
        assert describe(reader) == ROWS
        model.says = SAID[:1]
        assert describe(reader) == ROWS
        writer.execute("INSERT INTO relation_templates VALUES ('capital', '{entity} has its capital at')")
        writer.commit()
        assert describe(reader) == ROWS[:1]
    reader.close()
    writer.close()


def test_a_transaction_that_writes_takes_it_along(conn: larqldb.Connection, probed: Path, model: Model) -> None:
    conn.execute("INSERT INTO relations (name) VALUES ('height')")
    assert describe(conn) == ROWS
    assert conn.in_transaction
    conn.rollback()
    assert stored(probed) == 0
    assert conn.execute("SELECT count(*) FROM probes").fetchone() == (0,)
    conn.execute("INSERT INTO relations (name) VALUES ('height')")
    assert describe(conn) == ROWS
    conn.commit()
    assert stored(probed) == 2
    assert model.asked == ["Portugal", "Portugal"]


def test_savepoints_stay_as_they_are(conn: larqldb.Connection, probed: Path, model: Model) -> None:
    conn.execute("INSERT INTO relations (name) VALUES ('height')")
    conn.execute("SAVEPOINT mine")
    assert describe(conn) == ROWS
    conn.execute("ROLLBACK TO mine")
    assert conn.execute("SELECT count(*) FROM edges WHERE source = 'probe'").fetchone() == (0,)
    conn.commit()
    assert conn.execute("SELECT count(*) FROM relations WHERE name = 'height'").fetchone() == (1,)


def test_a_transaction_that_reads_takes_no_lock(conn: larqldb.Connection, probed: Path, model: Model) -> None:
    conn.execute("BEGIN")
    conn.execute("SELECT count(*) FROM layers").fetchall()
    assert describe(conn) == ROWS
    assert conn.database.txn_state("main") == apsw.SQLITE_TXN_READ
    conn.commit()
    assert stored(probed) == 0


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN; SELECT count(*) FROM layers"])
def test_others_who_write_or_read_do_not_stop_it(
    conn: larqldb.Connection, probed: Path, model: Model, lock: str
) -> None:
    other = larqldb.connect(probed)
    other.database.execute(lock).fetchall()
    assert describe(conn) == ROWS
    assert not conn.in_transaction
    assert conn.database.pragma("busy_timeout") == 5_000
    other.close()
    assert stored(probed) == 0
    assert describe(conn) == ROWS


def test_a_statement_that_writes_gets_its_rows(conn: larqldb.Connection, model: Model) -> None:
    conn.execute("CREATE TABLE kept (relation, target)")
    for autocommit in (True, False):
        conn.autocommit = autocommit
        conn.execute("INSERT INTO kept SELECT relation, target FROM describe('Portugal') WHERE source = 'probe'")
        conn.commit()
    assert conn.execute("SELECT * FROM kept").fetchall() == [("river", "Tagus"), ("capital", "Lisbon")] * 2


def test_a_full_disk_does_not_stop_it(conn: larqldb.Connection, probed: Path, model: Model) -> None:
    model.says = [found("river", "T" * 100_000, 0.9)]
    conn.execute("PRAGMA max_page_count = 1").fetchall()
    assert [len(str(row[1])) for row in describe(conn)] == [100_000]
    assert not conn.in_transaction
    assert stored(probed) == 0


def test_a_transaction_survives_a_full_disk_or_its_loss_is_said(conn: larqldb.Connection, model: Model) -> None:
    model.says = [found("river", "T" * 100_000, 0.9)]
    conn.execute("INSERT INTO relations (name) VALUES ('height')")
    conn.execute("PRAGMA max_page_count = 1").fetchall()
    try:
        assert [len(str(row[1])) for row in describe(conn)] == [100_000]
    except OperationalError:
        assert not conn.in_transaction
    else:
        conn.commit()
        assert conn.execute("SELECT count(*) FROM relations WHERE name = 'height'").fetchone() == (1,)


def test_a_refusal_of_the_file_does_not_stop_it(conn: larqldb.Connection, model: Model) -> None:
    refuse = "CREATE TRIGGER no BEFORE INSERT ON edge_records BEGIN SELECT RAISE(ABORT, 'no'); END"
    conn.execute(refuse)
    assert describe(conn) == describe(conn) == ROWS
    assert model.asked == ["Portugal"]
    assert conn.execute("SELECT count(*) FROM probes").fetchone() == (0,)
    conn.execute("INSERT INTO relations (name) VALUES ('height')")
    assert describe(conn) == ROWS
    conn.commit()
    assert conn.execute("SELECT count(*) FROM probes").fetchone() == (0,)
    assert conn.execute("SELECT count(*) FROM relations WHERE name = 'height'").fetchone() == (1,)


def test_what_changes_the_network_changes_nothing_here(conn: larqldb.Connection, probed: Path, model: Model) -> None:
    """The model as extracted is asked: what it says is stored under interventions and beside edits too."""
    with conn.ablate(layer=2, features=[1]), conn.steer(1, np.ones(40)):
        assert describe(conn) == describe(conn) == ROWS
    assert model.asked == ["Portugal"]
    assert stored(probed) == 2


def test_it_is_stored_beside_edits(conn: larqldb.Connection, probed: Path, model: Model) -> None:
    conn.execute("DELETE FROM EDGES WHERE layer = 4 AND feature = 7")
    conn.commit()
    assert conn.session.live.edits
    assert describe(conn) == describe(conn) == ROWS
    assert model.asked == ["Portugal"]
    assert stored(probed) == 2


def test_rounded_weights_leave_nothing(probed: Path, model: Model) -> None:
    with larqldb.connect(probed, precision="int8") as connection:
        assert describe(connection) == describe(connection) == ROWS
    connection.close()
    assert model.asked == ["Portugal"]
    assert stored(probed) == 0


def test_a_connection_that_walks_does_not_load_the_network(probed: Path, model: Model) -> None:
    with larqldb.connect(probed, walk=0.9) as connection:
        assert describe(connection) == []
    connection.close()
    assert model.asked == []


def test_what_the_model_cannot_read_is_described_by_its_weights(conn: larqldb.Connection, model: Model) -> None:
    model.says = BadPrompt(problem="no tokens", remedy="none")
    assert describe(conn) == []


def test_a_model_that_says_nothing_is_not_asked_again(probed: Path, model: Model) -> None:
    """Neither what it has no answer to, nor what makes no sense of the entity."""
    model.says = [replace(SAID[0], edges=()), Found("capital", {}, ())]
    for _ in range(2):
        with larqldb.connect(probed) as connection:
            assert describe(connection) == describe(connection) == []
            assert connection.execute("SELECT * FROM not_asked").fetchall() == [("Portugal", "capital")]
            assert connection.execute("SELECT relation, answer FROM probes").fetchall() == [("river", "Tagus")]
        connection.close()
    assert model.asked == ["Portugal"]


def test_what_was_probed_is_asked_about_the_rest(conn: larqldb.Connection, model: Model) -> None:
    """By the name that the file has for it, and what was there stays."""
    for name, answers in (("Portugal", {"{entity}:": Answer("Lisbon", 0.9, None)}), ("Spain", {})):
        live.store(conn.session, name, [Found("capital", answers, ())])
    conn.execute(
        "INSERT INTO edge_records (entity, relation, target, confidence, source) "
        "VALUES ('Portugal', 'capital', 'Lisbon', 0.8, 'probe')"
    )
    conn.commit()
    model.says = SAID[:1]
    for _ in range(2):
        assert [(row[0], row[-2]) for row in describe(conn, "PORTUGAL")] == [("river", 0.9), ("capital", 0.8)]
        assert [row[0] for row in describe(conn, "Spain")] == ["river"]
    assert model.asked == ["Portugal", "Spain"]
    assert model.relations == [["river"], ["river"]]


def test_an_interruption_ends_it_and_leaves_no_transaction(
    conn: larqldb.Connection, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(*_: object) -> None:
        conn.database.execute("DELETE FROM relations")
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "store", half)
    with pytest.raises(KeyboardInterrupt):
        describe(conn)
    assert not conn.in_transaction
    assert conn.database.pragma("busy_timeout") == 5_000
    assert conn.execute("SELECT count(*) FROM relations WHERE name = 'river'").fetchone() == (1,)


def test_edges_of_users_stand_among_what_was_found(conn: larqldb.Connection, model: Model) -> None:
    conn.execute(
        "INSERT INTO edge_records (entity, relation, target, confidence, source) VALUES "
        "('Portugal', 'poet', 'Pessoa', 0.8, 'user'), ('Portugal', 'dish', 'bacalhau', NULL, 'user')"
    )
    conn.commit()
    assert [row[1] for row in describe(conn)] == ["Tagus", "Pessoa", "Lisbon", "bacalhau"]
    with larqldb.connect(conn.path, read_only=True) as reader:
        assert [row[1] for row in describe(reader)] == ["Tagus", "Pessoa", "Lisbon", "bacalhau"]
    reader.close()


def test_what_an_edit_deleted_stays_off_the_list(conn: larqldb.Connection, probed: Path, model: Model) -> None:
    edits.add_patch(conn.database, "edits", "tiny")
    edits.write(conn.database, "edits", [Operation("delete", entity="Portugal", relation="capital", target="Lisbon")])
    edits.show(conn.database)
    conn.commit()
    with larqldb.connect(probed, read_only=True) as reader:
        assert describe(reader) == describe(reader) == ROWS[:1]
    reader.close()
    assert describe(conn) == describe(conn) == ROWS[:1]
    assert conn.execute("SELECT count(*) FROM edge_records WHERE target = 'Lisbon'").fetchone() == (1,)
    conn.execute("DELETE FROM patches")
    conn.commit()
    assert describe(conn) == ROWS
