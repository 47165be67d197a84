"""Results in notebooks and in IPython's terminal, and the magic %lql."""

import atexit

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import larqldb
from larqldb import display

ENDLESS = "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r"


@pytest.fixture
def conn():
    connection = larqldb.connect(":memory:")
    yield connection
    connection.close()


def numbers(conn, last):
    return conn.execute(f"{ENDLESS} LIMIT ?", (last,))


def body(cursor):
    return display.html(cursor).partition("<tbody>\n")[2].partition("</tbody>")[0]


# Tables


def test_a_table(conn):
    shown = conn.execute("SELECT 'Paris' AS token, 3 AS layer")._repr_html_()
    assert "<thead><tr><th>token</th><th>layer</th></tr></thead>" in shown
    assert '<tr><td>Paris</td><td class="number">3</td></tr>' in shown
    assert "<p>1 row</p>" in shown


@pytest.mark.parametrize(
    ("expression", "cell"),
    [
        ("NULL", "<td><i>NULL</i></td>"),
        ("'NULL'", "<td>NULL</td>"),
        ("zeroblob(1152)", "<td><i>1,152 bytes</i></td>"),
        ("'<script>&\"'", "<td>&lt;script&gt;&amp;&quot;</td>"),
        ("' Paris'", "<td> Paris</td>"),
        ("0.1 + 0.2", '<td class="number">0.3</td>'),
        ("1234567", '<td class="number">1234567</td>'),
        ("char(8238) || 'a' || char(10)", "<td>\\u202ea\\n</td>"),
        ("'東京 🗼'", "<td>東京 🗼</td>"),
    ],
)
def test_values(conn, expression, cell):
    assert body(conn.execute(f"SELECT {expression}")) == f"<tr>{cell}</tr>\n"


def test_long_text_is_cut(conn):
    assert len(body(conn.execute("SELECT printf('%.*c', 100000, 'x')"))) < 2000


def test_names_of_columns_are_escaped(conn):
    assert "<th>&lt;b&gt;</th>" in display.html(conn.execute('SELECT 1 AS "<b>"'))


def test_formulas_are_left_alone(conn):
    assert "mathjax_ignore" in display.html(conn.execute("SELECT '$x$'"))


@pytest.mark.parametrize(
    ("rows", "shown", "says"),
    [
        (0, 0, "0 rows"),
        (50, 50, "50 rows"),
        (51, 50, "first 50 of 51 rows, 1 more"),
        (1000, 50, "first 50 of 1,000 rows, 950 more"),
        (1001, 50, "first 50 of more than 1,000 rows"),
    ],
)
def test_first_rows(conn, rows, shown, says):
    made = display.html(numbers(conn, rows))
    assert made.count("<tr><td") == shown
    assert f"<p>{says}</p>" in made


def test_an_endless_result(conn):
    assert "first 50 of more than 1,000 rows" in display.html(conn.execute(ENDLESS))


def test_a_statement_without_rows(conn):
    cursor = conn.execute("INSERT INTO relations (name) VALUES ('a'), ('b')")
    assert cursor._repr_html_() is None
    assert display.text(cursor) == "<larqldb.Cursor, 2 rows changed>"


def test_as_text(conn):
    lines = display.text(numbers(conn, 51)).splitlines()
    assert [line.strip("│ ") for line in lines[1:5:2]] == ["n", "1"]
    assert lines[-1] == "first 50 of 51 rows, 1 more"


def test_reprs(conn):
    cursor = conn.execute("SELECT 1 AS one, 2 AS two")
    assert repr(cursor) == "<larqldb.Cursor of one, two>"
    cursor.close()
    assert repr(cursor) == "<larqldb.Cursor, closed>"
    assert cursor._repr_html_() is None
    assert repr(conn.cursor()) == "<larqldb.Cursor>"


def test_a_closed_connection(conn):
    cursor = conn.execute("SELECT 1 AS one")
    conn.close()
    assert cursor._repr_html_() is None
    assert display.text(cursor) == "<larqldb.Cursor of one>"


# Looking takes nothing away


def test_shown_rows_are_still_there(conn):
    cursor = numbers(conn, 2000)
    for _ in range(3):
        display.html(cursor)
    assert [n for (n,) in cursor.fetchall()] == list(range(1, 2001))
    assert "0 rows" in display.html(cursor)


def test_peek(conn):
    cursor = numbers(conn, 5)
    assert cursor.peek(2) == [(1,), (2,)]
    assert cursor.fetchone() == (1,)
    assert cursor.peek(9) == [(2,), (3,), (4,), (5,)]
    assert cursor.peek(0) == cursor.peek(-1) == []
    assert cursor.fetchmany(2) == [(2,), (3,)]
    assert list(cursor) == [(4,), (5,)]
    assert cursor.peek(1) == []


def test_peek_reports_what_goes_wrong(conn):
    cursor = conn.execute("SELECT abs(column1) FROM (VALUES (1), (-9223372036854775808))")
    with pytest.raises(larqldb.OperationalError, match="integer overflow"):
        cursor.peek(2)
    with pytest.raises(larqldb.ProgrammingError, match="no rows to fetch"):
        conn.execute("CREATE TABLE x (y)").peek(1)


# In IPython


@pytest.fixture
def shell(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
    made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    yield made
    made.reset()
    made.atexit_operations()
    atexit.unregister(made.atexit_operations)
    InteractiveShell.clear_instance()


@pytest.fixture
def loaded(shell, tiny_vindex):
    shell.run_line_magic("load_ext", "larqldb")
    shell.user_ns["path"] = str(tiny_vindex)
    shell.run_line_magic("lql", "USE :path")
    return shell


def test_notebooks_get_both_forms(shell, conn):
    formats, _ = shell.display_formatter.format(conn.execute("SELECT 7 AS n"))
    assert '<td class="number">7</td>' in formats["text/html"]
    assert "│ 7 │" in formats["text/plain"]


def test_a_kernel_shows_nothing_else(shell, conn, monkeypatch):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    with capture_output() as captured:
        display.text(conn.execute("SELECT 7 AS n"))
    assert captured.outputs == []


def test_a_line(loaded):
    cursor = loaded.run_line_magic("lql", "SHOW LAYERS")
    assert len(cursor.fetchall()) == 5


def test_variables_are_parameters(loaded):
    loaded.user_ns["word"], loaded.user_ns["layer"] = "it's", 2
    assert loaded.run_line_magic("lql", "SELECT :word, count(*) FROM features WHERE layer = :layer").fetchall() == [
        ("it's", 67)
    ]
    assert loaded.run_line_magic("lql", "SELECT '{word} $word'").fetchone() == ("{word} $word",)
    with pytest.raises(larqldb.ProgrammingError, match="no value given for parameter :nothing"):
        loaded.run_line_magic("lql", "SELECT :nothing")


def test_a_cell_shows_every_result(loaded):
    with capture_output() as captured:
        last = loaded.run_cell_magic("lql", "", "SELECT 1 AS one;\nCREATE TABLE notes (note);\nSELECT 2 AS two;\n")
    (first,) = captured.outputs
    assert "<th>one</th>" in first.data["text/html"]
    assert last.fetchall() == [(2,)]


def test_changes_are_permanent(loaded, tiny_vindex):
    loaded.run_cell_magic("lql", "", "CREATE TABLE notes (note); INSERT INTO notes VALUES ('kept')")
    with larqldb.connect(tiny_vindex) as other:
        assert other.execute("SELECT note FROM notes").fetchall() == [("kept",)]
    other.close()


def test_a_connection_of_ones_own(loaded, conn):
    loaded.user_ns["mine"] = conn
    loaded.run_cell_magic("lql", "mine", "INSERT INTO relations (name) VALUES ('a')")
    assert conn.in_transaction
    with pytest.raises(UsageError, match="path is no larqldb connection"):
        loaded.run_cell_magic("lql", "path", "SELECT 1")


@pytest.mark.parametrize("text", ["", " ", "-- nothing"])
def test_nothing_to_run(loaded, text):
    with pytest.raises(UsageError, match="a statement is missing"):
        loaded.run_line_magic("lql", text)


def test_a_mistake(loaded):
    with pytest.raises(larqldb.LQLSyntaxError, match="did you mean DESCRIBE"):
        loaded.run_line_magic("lql", "DESCRBE 'France'")


@pytest.mark.parametrize("cell", ["conn.execute('SELECT 5 AS five')", "%lql SELECT 5 AS five"])
def test_the_last_line_of_a_cell(loaded, conn, cell):
    loaded.user_ns["conn"] = conn
    with capture_output() as captured:
        assert loaded.run_cell(cell).success
    assert "│ five │" in captured.stdout
