"""pandas over a plain larqldb connection.

pandas says once per call that it tests SQLAlchemy connections only; that warning is expected here, by name, and any
other one fails the test.
"""

import pandas as pd
import pytest

SAYS = "pandas only supports SQLAlchemy"


def test_rows(numbers):
    with pytest.warns(UserWarning, match=SAYS):
        frame = pd.read_sql("SELECT n, word, half FROM numbers WHERE n >= ? ORDER BY n", numbers, params=(7,))
    assert frame.to_dict("list") == {"n": [7, 8, 9], "word": ["w7", "w8", "w9"], "half": [3.5, 4.0, 4.5]}


def test_named_parameters(numbers):
    with pytest.warns(UserWarning, match=SAYS):
        frame = pd.read_sql("SELECT n FROM numbers WHERE n = :n", numbers, params={"n": 4})
    assert frame.n.tolist() == [4]


def test_no_rows(numbers):
    with pytest.warns(UserWarning, match=SAYS):
        frame = pd.read_sql("SELECT n, word FROM numbers WHERE n > 99", numbers)
    assert list(frame.columns) == ["n", "word"]
    assert len(frame) == 0


@pytest.mark.parametrize(("where", "sizes"), [("1", [4, 4, 2]), ("0", [0])])
def test_chunks(numbers, where, sizes):
    with pytest.warns(UserWarning, match=SAYS):
        chunks = list(pd.read_sql(f"SELECT n, word FROM numbers WHERE {where}", numbers, chunksize=4))
    assert [len(chunk) for chunk in chunks] == sizes
    assert all(list(chunk.columns) == ["n", "word"] for chunk in chunks)


def test_a_frame_becomes_a_table(conn):
    frame = pd.DataFrame({"n": [1, 2], "word": ["a", None], "half": [0.5, float("nan")]})
    with pytest.warns(UserWarning, match=SAYS):
        frame.to_sql("frame", conn, index=False)
    assert conn.execute("SELECT * FROM frame").fetchall() == [(1, "a", 0.5), (2, None, None)]
