"""SQLAlchemy and, through it, pandas over a vindex; every warning is a failure here as everywhere in the suite."""

import threading
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import apsw
import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy import exc, pool
from sqlalchemy.dialects import registry, sqlite
from sqlalchemy.ext.automap import automap_base
from sqlalchemy.orm import Session

import larqldb
from larqldb.sqlalchemy import Dialect

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENTRY_POINTS = PROJECT["entry-points"]["sqlalchemy.dialects"]
INSERT = sa.text("INSERT INTO notes (name) VALUES (:name)")


@pytest.fixture(autouse=True)
def _entry_points():
    """What installing larqldb does; so these tests run from a checkout too."""
    for name, target in ENTRY_POINTS.items():
        registry.register(name, *target.split(":"))


@pytest.fixture
def engine(tiny_vindex: Path) -> Iterator[sa.Engine]:
    made = sa.create_engine(f"larqldb:///{tiny_vindex}")
    with made.begin() as connection:
        connection.execute(sa.text("CREATE TABLE notes (name TEXT PRIMARY KEY, description TEXT)"))
    yield made
    made.dispose()


@pytest.fixture
def conn(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.connect() as connection:
        yield connection


def names(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(sa.text("SELECT name FROM notes ORDER BY name")).scalars())


# Entry points and URLs


@pytest.mark.parametrize("target", ENTRY_POINTS.values())
def test_entry_points_name_the_dialect(target):
    module, name = target.split(":")
    assert getattr(import_module(module), name) is Dialect


@pytest.mark.parametrize("url", ["larqldb:///x.vindex", "sqlite+larqldb:///x.vindex"])
def test_both_spellings(url):
    engine = sa.create_engine(url)
    assert (engine.name, engine.driver) == ("sqlite", "larqldb")
    assert engine.dialect.loaded_dbapi is larqldb


@pytest.mark.parametrize(
    ("url", "path", "options"),
    [
        ("larqldb:///x.vindex", str(Path("x.vindex").absolute()), {}),
        ("larqldb:////data/x.vindex", "/data/x.vindex", {}),
        ("larqldb:///:memory:", ":memory:", {}),
        ("larqldb://", ":memory:", {}),
        (
            "larqldb:////data/x.vindex?read_only=true&cache_mb=64&precision=float32",
            "/data/x.vindex",
            {"read_only": True, "cache_mb": 64, "precision": "float32"},
        ),
    ],
)
def test_urls(url, path, options):
    assert Dialect().create_connect_args(sa.make_url(url)) == ([path], options)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("larqldb://x.vindex", "three slashes"),
        ("larqldb:///x.vindex?readonly=true", "unknown option readonly .* known are read_only, cache_mb"),
        ("larqldb:///x.vindex?cache_mb=lots", "option cache_mb .* cannot be 'lots'"),
        ("larqldb:///x.vindex?read_only=perhaps", "option read_only .* cannot be 'perhaps'"),
    ],
)
def test_urls_that_are_none(url, message):
    with pytest.raises(exc.ArgumentError, match=message):
        sa.create_engine(url).connect()


def test_pools(engine):
    assert isinstance(engine.pool, pool.QueuePool)
    assert isinstance(sa.create_engine("larqldb:///:memory:").pool, pool.SingletonThreadPool)


def test_versions(engine, conn):
    assert engine.dialect.server_version_info == larqldb.sqlite_version_info
    assert conn.scalar(sa.select(sa.func.sqlite_version())) == larqldb.sqlite_version


def test_a_missing_file(tmp_path):
    with pytest.raises(exc.OperationalError, match=r"no model at .*nothing.vindex"):
        sa.create_engine(f"larqldb:///{tmp_path}/nothing.vindex").connect()


# Statements


def test_lql_with_a_parameter(conn):
    row = (
        conn.execute(sa.text("WALK :prompt TOP 2 LAYERS 1-1"), {"prompt": "The capital of France is"}).mappings().all()
    )
    assert [(found["layer"], found["rank"]) for found in row] == [(1, 1), (1, 2)]


def test_lql_for_the_driver(conn):
    columns = conn.exec_driver_sql("DESCRIBE ? BRIEF", ("France",)).keys()
    assert list(columns)[:2] == ["relation", "target"]


def test_lql_joins_tables(conn):
    statement = sa.text("SELECT f.token FROM walk(:p, 3) w JOIN features f USING (layer, feature) WHERE layer = 2")
    assert len(conn.execute(statement, {"p": "Paris"}).all()) == 3


def test_a_colon_in_a_string(conn):
    assert conn.execute(sa.text(r"""SELECT 'a \:b' """)).scalar() == "a :b"
    assert conn.exec_driver_sql("SELECT 'a :b'").scalar() == "a :b"


def test_quotes_and_percent_signs(conn):
    assert conn.execute(sa.text("""SELECT 'it''s 100 %', "a string" """)).one() == ("it's 100 %", "a string")


def test_no_rows_have_columns(conn):
    result = conn.execute(sa.text("SELECT name, description FROM notes"))
    assert (list(result.keys()), result.all()) == (["name", "description"], [])


def test_expressions(conn):
    features = sa.Table("features", sa.MetaData(), autoload_with=conn)
    query = sa.select(features.c.layer, sa.func.count().label("n")).group_by(features.c.layer).order_by("layer")
    assert conn.execute(query).all() == [(layer, 67) for layer in range(5)]


def test_regexp_match(conn):
    tokens = sa.Table("tokens", sa.MetaData(), autoload_with=conn)
    found = conn.scalars(sa.select(tokens.c.text).where(tokens.c.text.regexp_match("^ ?P")))
    assert all(text.strip().startswith("P") for text in found)
    assert conn.execute(sa.text("SELECT NULL REGEXP 'a', 'cab' REGEXP 'a'")).one() == (None, 1)


def test_on_conflict(conn):
    table = sa.Table("notes", sa.MetaData(), autoload_with=conn)
    insert = sqlite.insert(table).on_conflict_do_nothing()
    assert conn.execute(insert, [{"name": "capital"}, {"name": "capital"}]).rowcount == 1


def test_errors_keep_their_class_and_place(conn):
    with pytest.raises(exc.ProgrammingError, match="did you mean DESCRIBE") as problem:
        conn.execute(sa.text("DESCRBE 'France'"))
    assert isinstance(problem.value.orig, larqldb.LQLSyntaxError)
    assert (problem.value.orig.line, problem.value.orig.column) == (1, 1)


def test_errors_of_constraints(conn):
    conn.execute(INSERT, {"name": "a"})
    with pytest.raises(exc.IntegrityError) as problem:
        conn.execute(INSERT, {"name": "a"})
    assert problem.value.orig.sqlite_errorname == "SQLITE_CONSTRAINT_PRIMARYKEY"


def test_read_only(tiny_vindex):
    engine = sa.create_engine(f"larqldb:///{tiny_vindex}?read_only=true")
    with engine.connect() as connection, pytest.raises(exc.OperationalError, match="read_only"):
        connection.execute(sa.text("CREATE TABLE others (note TEXT)"))
    engine.dispose()


# Reflection


def test_tables_and_views(engine):
    inspector = sa.inspect(engine)
    assert {"features", "feature_vectors", "tokens", "relations"} <= set(inspector.get_table_names())
    assert {"edges", "model_graph"} <= set(inspector.get_view_names())
    assert inspector.has_table("features")
    assert inspector.has_table("FEATURES", schema="main")
    assert not inspector.has_table("features", schema="temp")
    assert not inspector.has_table("walk")


def test_everything_reflects(engine):
    metadata = sa.MetaData()
    metadata.reflect(engine, views=True)
    with engine.connect() as connection:
        for table in metadata.tables.values():
            assert list(connection.execute(sa.select(table).limit(1)).keys()) == list(table.columns.keys())


def test_columns_keys_and_indexes(engine):
    inspector = sa.inspect(engine)
    columns = {column["name"]: column for column in inspector.get_columns("features")}
    assert isinstance(columns["token"]["type"], sa.Text)
    assert not columns["token"]["nullable"]
    assert inspector.get_pk_constraint("features")["constrained_columns"] == ["layer", "feature"]
    assert "features_by_token" in {index["name"] for index in inspector.get_indexes("features")}
    (key,) = inspector.get_foreign_keys("relation_templates")
    assert (key["referred_table"], key["referred_columns"]) == ("relations", ["name"])


def test_orm(engine):
    base = automap_base()
    base.prepare(engine)
    feature = base.classes.features
    with Session(engine) as session:
        assert session.get(feature, (3, 5)).token_id >= 0
        assert session.scalar(sa.select(sa.func.count()).where(feature.layer == 3)) == 67
        note = base.classes.notes(name="capital")
        session.add(note)
        session.commit()
        note.description = "where a government sits"
        session.commit()
        assert session.scalars(sa.select(base.classes.notes)).one().description == "where a government sits"


# Transactions


def test_commit_and_rollback(engine):
    with engine.connect() as connection:
        connection.execute(INSERT, {"name": "kept"})
        connection.commit()
        connection.execute(INSERT, {"name": "lost"})
    assert names(engine) == ["kept"]


def test_an_exception_rolls_back(engine):
    def fail():
        with engine.begin() as connection:
            connection.execute(INSERT, {"name": "lost"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(engine) == []


def test_ddl_belongs_to_the_transaction(engine):
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE TABLE others (note TEXT)"))
        connection.rollback()
    assert not sa.inspect(engine).has_table("others")


def test_savepoints(engine):
    with engine.begin() as connection:
        connection.execute(INSERT, {"name": "outer"})
        inner = connection.begin_nested()
        connection.execute(INSERT, {"name": "inner"})
        inner.rollback()
        with connection.begin_nested():
            connection.execute(INSERT, {"name": "second"})
    assert names(engine) == ["outer", "second"]


def test_a_rolled_back_outer_transaction_takes_its_savepoints_along(engine):
    with engine.connect() as connection:
        with connection.begin_nested():
            connection.execute(INSERT, {"name": "inner"})
        connection.rollback()
    assert names(engine) == []


def test_a_begin_written_out_in_an_event_is_not_a_second_one(engine):
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as connection:
        connection.execute(INSERT, {"name": "a"})
    assert names(engine) == ["a"]


def test_autocommit(engine):
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(INSERT, {"name": "a"})
        assert names(engine) == ["a"]
        connection.rollback()
        assert connection.get_isolation_level() == "AUTOCOMMIT"
    with engine.connect() as connection:
        assert connection.get_isolation_level() == "SERIALIZABLE"
        connection.execute(INSERT, {"name": "lost"})
    assert names(engine) == ["a"]


def test_isolation_levels(engine):
    for level in ("SERIALIZABLE", "READ UNCOMMITTED", "AUTOCOMMIT"):
        with engine.connect().execution_options(isolation_level=level) as connection:
            assert connection.get_isolation_level() == level
    with pytest.raises(exc.ArgumentError, match="AUTOCOMMIT"):
        engine.connect().execution_options(isolation_level="CHAOS")


# Connections


def test_threads(engine):
    found: list[int] = []

    def ask() -> None:
        with engine.connect() as connection:
            found.append(connection.execute(sa.text("SELECT count(*) FROM features")).scalar_one())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [335] * 8


def test_at_rest_there_is_one_file(tiny_vindex):
    before = len(apsw.connections())
    engine = sa.create_engine(f"larqldb:///{tiny_vindex}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE others (note TEXT)"))
    assert [file.name for file in tiny_vindex.parent.iterdir()] == [tiny_vindex.name]
    engine.dispose()
    assert len(apsw.connections()) == before


def test_a_connection_closed_underneath_is_replaced(engine):
    with engine.connect() as connection:
        connection.connection.driver_connection.close()
        with pytest.raises(exc.ProgrammingError, match="closed") as problem:
            connection.execute(sa.text("SELECT 1"))
        assert problem.value.connection_invalidated
    assert names(engine) == []


def test_memory():
    engine = sa.create_engine("larqldb:///:memory:")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE others AS SELECT 7 AS n"))
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT n FROM others")) == 7
    engine.dispose()


# pandas


def test_read_a_table(engine):
    frame = pd.read_sql("layers", engine)
    assert frame.layer.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("statement", ["DESCRIBE 'France' RAW", "WALK 'Paris' TOP 2", "SHOW LAYERS", "STATS"])
def test_read_lql(engine, statement):
    frame = pd.read_sql(statement, engine)
    with larqldb.connect(engine.url.database) as own:
        cursor = own.execute(statement)
        assert list(frame.columns) == [column[0] for column in cursor.description]
        assert len(frame) == len(cursor.fetchall())
    own.close()


def test_read_with_parameters(engine):
    frame = pd.read_sql(sa.text("SELECT feature FROM features WHERE layer = :layer"), engine, params={"layer": 2})
    assert len(frame) == 67
    assert len(pd.read_sql("SELECT feature FROM features WHERE layer = ?", engine, params=(2,))) == 67


def test_read_in_chunks(engine):
    with engine.connect() as connection:
        chunks = list(pd.read_sql("SELECT feature FROM features", connection, chunksize=100))
    assert [len(chunk) for chunk in chunks] == [100, 100, 100, 35]


def test_a_frame_becomes_a_table_and_comes_back(engine):
    frame = pd.DataFrame(
        {"word": ["a", None], "n": [1, 2], "half": [0.5, float("nan")], "day": pd.to_datetime(["2024-02-29", None])}
    )
    frame.to_sql("words", engine, index=False)
    pd.testing.assert_frame_equal(pd.read_sql("words", engine), frame, check_dtype=False)
    with pytest.raises(ValueError, match="already exists"):
        frame.to_sql("words", engine, index=False)
    frame.to_sql("words", engine, index=False, if_exists="append", method="multi")
    assert len(pd.read_sql("words", engine)) == 4
    frame.to_sql("words", engine, index=False, if_exists="replace")
    assert len(pd.read_sql("words", engine)) == 2


def test_a_frame_fills_a_table_that_exists(engine):
    pd.DataFrame({"name": ["capital", "river"]}).to_sql("notes", engine, index=False, if_exists="append")
    assert names(engine) == ["capital", "river"]
