import datetime
import enum
import uuid
from collections.abc import Mapping
from decimal import Decimal

import ml_dtypes
import numpy as np
import pandas as pd
import pytest

import larqldb


class Colour(enum.IntEnum):
    RED = 3


class Word(enum.StrEnum):
    HELLO = "hello"


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        (True, 1),
        (-(1 << 63), -(1 << 63)),
        (1.5, 1.5),
        ("text", "text"),
        (b"\x00\x01", b"\x00\x01"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[::2], b"ac"),
        (larqldb.Binary(b"xy"), b"xy"),
        (Colour.RED, 3),
        (Word.HELLO, "hello"),
        (Decimal("2.50"), 2.5),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (datetime.time(1, 2, 3), "01:02:03"),
        (datetime.datetime(2024, 2, 29, 1, 2, 3), "2024-02-29 01:02:03"),
        (datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC), "2024-02-29 00:00:00+00:00"),
        (float("nan"), None),
        (pd.Timestamp("2024-02-29 01:02:03"), "2024-02-29 01:02:03"),
        (pd.NaT, None),
        (np.int8(-3), -3),
        (np.uint64(7), 7),
        (np.int64(1 << 62), 1 << 62),
        (np.bool_(True), 1),
        (np.float16(0.5), 0.5),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float64(0.1), 0.1),
        (np.longdouble(1.5), 1.5),
        (ml_dtypes.bfloat16(1.5), 1.5),
        (np.str_("né"), "né"),
        (np.bytes_(b"raw"), b"raw"),
        (np.array(3), 3),
        (np.array("x"), "x"),
        (np.array([1.5, 2.5])[1], 2.5),
        (np.datetime64("2024-02-29T01:02:03"), "2024-02-29 01:02:03"),
        (np.datetime64("NaT"), None),
    ],
    ids=repr,
)
def test_values_are_stored_as_what_they_are(conn, value, stored):
    (found,) = conn.execute("SELECT ?", (value,)).fetchone()
    assert found == stored
    assert type(found) is (int if stored is not None and type(stored) is bool else type(stored))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (object(), "object"),
        ([1], "list"),
        ({"a": 1}, "dict"),
        (1j, "complex"),
        (uuid.UUID(int=0), r"uuid\.UUID"),
        (datetime.timedelta(1), r"datetime\.timedelta"),
        (np.complex64(1), r"numpy\.complex64"),
        (np.timedelta64(1, "ns"), r"numpy\.timedelta64"),
        (np.zeros(3), r"an array of shape \(3,\)"),
        (np.float32, r"type"),
    ],
    ids=repr,
)
def test_other_types_are_refused_by_name_and_position(conn, value, name):
    with pytest.raises(larqldb.InterfaceError, match=f"parameter 2 is .*{name}"):
        conn.execute("SELECT ?, ?", (1, value))
    with pytest.raises(larqldb.InterfaceError, match=f"parameter :bad is .*{name}"):
        conn.execute("SELECT :good, :bad", {"good": 1, "bad": value})


@pytest.mark.parametrize("parameters", [(1, 2), [1, 2], range(1, 3), np.array([1, 2]), pd.Series([1, 2]).tolist()])
def test_sequences(conn, parameters):
    assert conn.execute("SELECT ?, ?", parameters).fetchone() == (1, 2)


def test_names(conn):
    assert conn.execute("SELECT :a, @b, $c, :a", {"a": 1, "b": "x", "c": np.int64(3)}).fetchone() == (1, "x", 3, 1)


def test_names_that_are_not_used_do_not_matter(conn):
    assert conn.execute("SELECT :a", {"a": 1, "b": object()}).fetchone() == (1,)


def test_any_mapping_will_do(conn):
    class Squares(Mapping):
        def __getitem__(self, name):
            return int(name[1:]) ** 2

        def __iter__(self):
            return iter(())

        def __len__(self):
            return 0

    assert conn.execute("SELECT :n12", Squares()).fetchone() == (144,)


@pytest.mark.parametrize(
    ("statement", "parameters", "message"),
    [
        ("SELECT ?", (), "the statement has 1 parameter, none given"),
        ("SELECT ?, ?", (1,), "the statement has 2 parameters, 1 given"),
        ("SELECT ?", (1, 2), "the statement has 1 parameter, 2 given"),
        ("SELECT 1", (1,), "the statement has no parameters, 1 given"),
        ("SELECT :a", {"b": 1}, "no value given for parameter :a"),
        ("SELECT ?", {"a": 1}, "numbered: give a sequence"),
        ("SELECT ?", "x", r"not str; for one value write \(value,\)"),
        ("SELECT ?", 5, r"not int; for one value write \(value,\)"),
        ("SELECT ?", {1}, "not set"),
        ("SELECT ?", None, "not NoneType"),
        ("SELECT ?", np.zeros((2, 2)), "not ndarray"),
    ],
)
def test_the_wrong_parameters(conn, statement, parameters, message):
    with pytest.raises(larqldb.ProgrammingError, match=message):
        conn.execute(statement, parameters)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1 << 63, "parameter 1: 9223372036854775808 does not fit"),
        ("\ud800", "parameter 1 is text with half a surrogate"),
    ],
)
def test_values_out_of_range(conn, value, message):
    with pytest.raises(larqldb.DataError, match=message):
        conn.execute("SELECT ?", (value,))


def test_ten_thousand_parameters(conn):
    values = list(range(10_000))
    marks = ", ".join("?" * len(values))
    assert conn.execute(f"SELECT count(*) FROM (SELECT 1 WHERE 9999 IN ({marks}))", values).fetchone() == (1,)


def test_constructors_round_trip(conn):
    ticks = 1_700_000_000
    moment = larqldb.TimestampFromTicks(ticks)
    assert conn.execute("SELECT ?", (moment,)).fetchone() == (str(moment),)
    assert larqldb.DateFromTicks(ticks) == moment.date()
    assert larqldb.TimeFromTicks(ticks) == moment.time()
    assert larqldb.Timestamp(2024, 1, 2, 3, 4, 5).date() == larqldb.Date(2024, 1, 2)
    assert larqldb.Time(3, 4, 5).isoformat() == "03:04:05"


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("INTEGER", larqldb.NUMBER),
        ("bigint", larqldb.NUMBER),
        ("REAL", larqldb.NUMBER),
        ("DECIMAL(10,2)", larqldb.NUMBER),
        ("varchar(20)", larqldb.STRING),
        ("TEXT", larqldb.STRING),
        ("BLOB", larqldb.BINARY),
        ("TIMESTAMP", larqldb.DATETIME),
        ("date", larqldb.DATETIME),
    ],
)
def test_type_objects(declared, kind):
    kinds = (larqldb.NUMBER, larqldb.STRING, larqldb.BINARY, larqldb.DATETIME)
    assert [each for each in kinds if each == declared] == [kind]


def test_type_objects_are_themselves():
    assert larqldb.ROWID == "INTEGER"
    assert larqldb.NUMBER != larqldb.STRING
    assert larqldb.NUMBER == larqldb.NUMBER
    assert len({larqldb.NUMBER, larqldb.STRING, larqldb.NUMBER}) == 2
    assert repr(larqldb.STRING) == "STRING"
    assert larqldb.NUMBER is not None
    assert larqldb.NUMBER != 5
