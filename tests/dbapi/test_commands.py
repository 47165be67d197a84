import pytest

import larqldb
from larqldb.storage.database import create_database


@pytest.fixture
def tiny(tiny_vindex):
    connection = larqldb.connect(tiny_vindex)
    yield connection
    connection.close()


def columns(cursor):
    return [column[0] for column in cursor.description]


def test_extract(conn, tiny_model, tmp_path):
    target = str(tmp_path / "new.vindex")
    cursor = conn.execute("EXTRACT MODEL ? INTO ? LAYERS 0-0 WITH INFERENCE", (str(tiny_model), target))
    assert columns(cursor) == ["what", "where", "how_many", "bytes"]
    rows = cursor.fetchall()
    assert rows[0][:2] == ("vindex", target)
    assert {row[0] for row in rows} >= {"vindex", "features", "tokens", "tensors"}
    with larqldb.connect(target) as made:
        assert made.execute("SELECT value FROM model WHERE key = 'level'").fetchone() == ("inference",)
        assert made.execute("SELECT DISTINCT layer FROM features").fetchall() == [(0,)]
    made.close()


def test_extract_by_name(conn, tiny_model, tmp_path):
    given = {"model": str(tiny_model), "target": str(tmp_path / "new.vindex")}
    assert conn.execute("EXTRACT MODEL :model INTO :target", given).fetchone()[1] == given["target"]


@pytest.mark.parametrize(
    ("statement", "parameters", "kind", "message"),
    [
        (
            "EXTRACT MODEL 'x' INTO 'y' COMPONENTS FFN_GATE",
            (),
            larqldb.NotSupportedError,
            "COMPONENTS is not available",
        ),
        ("EXTRACT MODEL '/nowhere/at/all' INTO 'y'", (), larqldb.OperationalError, "no model at"),
        ("EXTRACT MODEL ? INTO ?", ("x",), larqldb.ProgrammingError, "no value given for parameter 2"),
        ("EXTRACT MODEL ? INTO ?", ("x", "y", "z"), larqldb.ProgrammingError, "has 2 parameters, 3 given"),
        ("EXTRACT MODEL ? INTO ?", (1, "y"), larqldb.InterfaceError, "must be text, not int"),
        ("EXTRACT MODEL :m INTO 'y'", ("x",), larqldb.ProgrammingError, "needs a mapping"),
        ("EXTRACT MODEL ? INTO 'y'", {"m": "x"}, larqldb.ProgrammingError, "needs a sequence"),
        ("EXTRACT MODEL :m INTO 'y'", {"n": "x"}, larqldb.ProgrammingError, "no value given for parameter m"),
    ],
)
def test_extract_that_cannot(conn, statement, parameters, kind, message):
    with pytest.raises(kind, match=message):
        conn.execute(statement, parameters)


def test_use(tiny, empty_vindex):
    other = tiny.execute("SELECT count(*) FROM layers")
    cursor = tiny.execute("USE ?", (str(empty_vindex),))
    assert columns(cursor) == ["what", "where", "how_many", "bytes"]
    assert cursor.fetchall() == [("vindex", str(empty_vindex), 0, empty_vindex.stat().st_size)]
    assert tiny.path == str(empty_vindex)
    assert cursor.execute("SELECT count(*) FROM layers").fetchone() == (0,)
    with pytest.raises(larqldb.ProgrammingError, match="closed"):
        other.fetchall()
    assert other.execute("SELECT count(*) FROM layers").fetchone() == (0,)


def test_use_keeps_a_connection_read_only(tiny_vindex, empty_vindex):
    connection = larqldb.connect(tiny_vindex, read_only=True)
    connection.execute("USE ?", (str(empty_vindex),))
    with pytest.raises(larqldb.OperationalError, match="readonly"):
        connection.execute("DELETE FROM relations")
    connection.close()


def test_use_refuses_to_lose_a_transaction(tiny, empty_vindex):
    tiny.execute("INSERT INTO relations (name) VALUES ('a')")
    with pytest.raises(larqldb.ProgrammingError, match="commit or roll back first"):
        tiny.execute("USE ?", (str(empty_vindex),))
    tiny.commit()
    assert tiny.execute("USE ?", (str(empty_vindex),)).fetchone()[0] == "vindex"


def test_use_of_what_is_not_there_stays_where_it_was(tiny):
    before = tiny.path
    with pytest.raises(larqldb.OperationalError, match="no model at"):
        tiny.execute("USE 'nowhere.vindex'")
    assert tiny.path == before
    assert tiny.execute("SELECT count(*) FROM layers").fetchone()[0] > 0


@pytest.mark.parametrize("statement", ["USE REMOTE 'http://localhost:1'", "USE 'hf://someone/some-vindex'"])
def test_use_of_what_is_elsewhere(conn, statement):
    with pytest.raises(larqldb.NotSupportedError):
        conn.execute(statement)


def test_use_model(conn, tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(larqldb.OperationalError, match="AUTO_EXTRACT"):
        conn.execute("USE MODEL ?", (str(tiny_model),))
    rows = conn.execute("USE MODEL ? AUTO_EXTRACT", (str(tiny_model),)).fetchall()
    assert {row[0] for row in rows} >= {"vindex", "features"}
    assert conn.path == f"{tiny_model.name}.vindex"
    assert len(conn.execute("USE MODEL ?", (str(tiny_model),)).fetchall()) == 1


def test_a_command_in_executemany(conn):
    with pytest.raises(larqldb.ProgrammingError, match="executemany takes INSERT"):
        conn.executemany("USE ?", [("a",)])


def test_commands_in_a_script(conn, tmp_path):
    create_database(tmp_path / "other.vindex").close()
    conn.executescript(f"USE '{tmp_path / 'other.vindex'}'; INSERT INTO relations (name) VALUES ('a');")
    assert conn.path == str(tmp_path / "other.vindex")
    assert conn.execute("SELECT name FROM relations").fetchall() == [("a",)]


def test_queries_take_parameters(tiny):
    assert tiny.execute("SHOW LAYERS 0-0").fetchall() == tiny.execute("SHOW LAYERS ?-?", (0, 0)).fetchall()
    text = "the"
    expected = tiny.execute('DESCRIBE "the" ALL LAYERS').fetchall()
    assert tiny.execute("DESCRIBE ? ALL LAYERS", (text,)).fetchall() == expected
    assert tiny.execute("DESCRIBE :what ALL LAYERS", {"what": text}).fetchall() == expected
    with pytest.raises(larqldb.ProgrammingError, match="has 1 parameter, none given"):
        tiny.execute("DESCRIBE ?")
