import io
import json
import sys

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

import larqldb as api
from larqldb.cli import repl
from larqldb.cli.completion import LQLCompleter
from larqldb.cli.render import as_json, as_table
from larqldb.cli.shell import Shell, duration, is_complete


@pytest.fixture
def shell(tiny_vindex):
    made = Shell(str(tiny_vindex), as_json, interactive=False)
    yield made
    made.close()


@pytest.fixture
def complete(tiny_vindex):
    connection = api.connect(tiny_vindex)
    completer = LQLCompleter(lambda: connection.database)
    yield lambda text: [
        found.text
        for found in completer.get_completions(Document(text, len(text)), CompleteEvent(completion_requested=True))
    ]
    connection.close()


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("", True),
        ("  \n", True),
        ("-- a comment", True),
        ("SELECT 1", False),
        ("SELECT 1;", True),
        ("SELECT 1; -- done", True),
        ("SELECT ';'", False),
        ("SELECT 'open;", False),
        ('DESCRIBE "open', False),
        ('DESCRIBE "France"', True),
        ('describe "France" knowledge', True),
        ('DESCRIBE "a\\"b', False),
        ("STATS;", True),
        ("STATS |>", False),
        ("STATS |> SELECT * FROM _", True),
        ("EXPLAIN WALK 'x'", True),
        ("EXPLAIN QUERY PLAN SELECT 1", False),
        ("INSERT INTO EDGES (entity, relation, target) VALUES ('a', 'b', 'c')", True),
        ("INSERT INTO relations (name) VALUES ('a')", False),
        ("CREATE TRIGGER t AFTER INSERT ON x BEGIN SELECT 1;", False),
        ("CREATE TRIGGER t AFTER INSERT ON x BEGIN SELECT 1; END;", True),
        ("SELECT 1\n", True),
        ("\\sql", True),
        ("DESCRBE 'x'", True),
    ],
)
def test_when_enter_runs(text, complete):
    assert is_complete(text) is complete


def test_statements(shell, capsys):
    assert shell.run("SELECT 1 AS a; SHOW LAYERS 0-0")
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first) == [{"a": 1}]
    assert json.loads(second)[0]["layer"] == 0


def test_an_error_does_not_end_it(shell, capsys):
    assert shell.run("SELECT * FROM edgez;")
    assert shell.failed
    assert "Did you mean edges?" in capsys.readouterr().err
    assert shell.run("SELECT 2 AS b")
    assert capsys.readouterr().out == '[{"b": 2}]\n'


def test_changes_are_kept_unless_a_begin_is_open(shell, tiny_vindex, capsys):
    shell.run("INSERT INTO relations (name) VALUES ('a');")
    assert not shell.connection.in_transaction
    shell.run("BEGIN;")
    shell.run("INSERT INTO relations (name) VALUES ('b');")
    assert shell.connection.in_transaction
    shell.close()
    assert "rolled back" in capsys.readouterr().err
    with api.connect(tiny_vindex) as connection:
        assert connection.execute("SELECT name FROM relations WHERE name IN ('a', 'b')").fetchall() == [("a",)]
    connection.close()


def test_sql_of_the_last_statement(shell, capsys):
    shell.run("\\sql")
    shell.run("SHOW LAYERS 0-0")
    capsys.readouterr()
    shell.run("\\sql")
    assert capsys.readouterr().out.startswith("SELECT")
    shell.run("\\sql STATS")
    assert "stats()" in capsys.readouterr().out


def test_timing(shell, capsys):
    shell.run("\\timing")
    shell.run("SELECT 1 AS a")
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["on.", "1}]", "ms"]


@pytest.mark.parametrize(("seconds", "text"), [(0.00031, "0.3 ms"), (0.0123, "12 ms"), (1.254, "1.25 s")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_use(shell, tiny_extracted, capsys):
    shell.run(f"\\use {tiny_extracted}")
    assert shell.connection.path == str(tiny_extracted)
    shell.run("\\use")
    assert "needs the name of a vindex" in capsys.readouterr().err


def test_help(shell, capsys):
    shell.run("\\help")
    assert "\\timing" in capsys.readouterr().out
    shell.run("\\help DESCRIBE")
    assert "RELATIONS ONLY" in capsys.readouterr().out


def test_leaving_and_mistyped_commands(shell, capsys):
    assert not shell.run("\\q")
    assert shell.run("\\tming")
    assert "Did you mean \\timing?" in capsys.readouterr().err


def test_piped_lines(tiny_vindex, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT\n  1 AS a;\n\\sql\nSTATS\n\nSELECT 2 AS b"))
    repl.run(str(tiny_vindex))
    out = capsys.readouterr().out
    assert out.startswith('[{"a": 1}]\nSELECT\n  1 AS a\n[{"property"')
    assert out.endswith('[{"b": 2}]\n')


def test_piped_lines_with_a_mistake(tiny_vindex, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT nothing;\nSELECT 2 AS b;\n"))
    with pytest.raises(SystemExit) as stop:
        repl.run(str(tiny_vindex))
    assert stop.value.code == 1
    assert capsys.readouterr().out == '[{"b": 2}]\n'


def test_keys(tiny_vindex, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    shell = Shell(str(tiny_vindex), as_table, interactive=True)
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text("SELECT 41 + 1\rAS answer;\r" + "thrown away\x03" + "SHOW LAYERS 0-0\r" + "\x04")
        repl._ask(shell)
    shell.close()
    out = capsys.readouterr().out
    assert "answer" in out
    assert "42" in out
    assert "band" in out
    assert out.count(" ms") == 2
    history = (tmp_path / "larqldb" / "history").read_text()
    assert "SELECT 41 + 1" in history
    assert (tmp_path / "larqldb" / "history").stat().st_mode & 0o777 == 0o600


def test_history_without_a_place_to_keep_it(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert type(repl._history()).__name__ == "InMemoryHistory"


def test_long_tables_go_to_the_pager(monkeypatch, capsys):
    pages = []
    monkeypatch.setattr("click.echo_via_pager", lambda text, **_: pages.append("".join(text)))
    repl.paged_table(["n"], ((n,) for n in range(2000)), sys.stdout)
    assert pages[0].endswith("2,000 rows\n")
    assert capsys.readouterr().out == ""
    repl.paged_table(["n"], [(1,)], sys.stdout)
    assert len(pages) == 1
    assert capsys.readouterr().out.endswith("1 row\n")


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("DESC", "DESCRIBE"),
        ("sel", "SELECT"),
        ("SHOW ", "LAYERS"),
        ("EXPLAIN ", "WALK"),
        ('DESCRIBE "France" ', "AT LAYER"),
        ('DESCRIBE "France" rel', "RELATIONS ONLY"),
        ('WALK "x" MODE ', "PURE"),
        ('WALK "x" MODE P', "PURE"),
        ("SELECT to", "token"),
        ("SELECT * FROM fea", "features"),
        ("SELECT * FROM wal", "walk"),
        ("SELECT * FROM features WHERE sc", "score"),
        ("SELECT * FROM edges NEA", "NEAREST TO"),
        ("SHOW FEATURES 1 WHERE gate", "gate_norm"),
        ("SELECT 1; STA", "STATS"),
        ("\\ti", "\\timing"),
    ],
)
def test_completion_offers(complete, text, offered):
    assert offered in complete(text)


@pytest.mark.parametrize(
    ("text", "absent"), [('DESCRIBE "France" AT LAYER 3 ', "AT LAYER"), ("SELECT tok", "score"), ("STATS", "STATS")]
)
def test_completion_does_not_offer(complete, text, absent):
    assert absent not in complete(text)


def test_completion_of_files(complete, tiny_vindex):
    assert complete(f"\\use {tiny_vindex.parent}/ti") == ["ny.vindex"]


def test_completion_sees_new_tables(tiny_vindex):
    connection = api.connect(tiny_vindex)
    completer = LQLCompleter(lambda: connection.database)

    def offers(text):
        found = completer.get_completions(Document(text, len(text)), CompleteEvent(completion_requested=True))
        return [each.text for each in found]

    assert "brandnew" not in offers("SELECT * FROM bra")
    connection.execute("CREATE TABLE brandnew (x)")
    assert "brandnew" in offers("SELECT * FROM bra")
    connection.close()
