import base64
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from larqldb.cli.app import cli
from larqldb.lql import statements

README = Path(__file__).parents[2] / "README.md"
COUNT = "SELECT count(*) AS n FROM layers"


def run_apart(*arguments, **options):
    command = [sys.executable, "-m", "larqldb", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


# Help


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_has_help_and_an_example(larqldb, name):
    code, out, _ = larqldb(name, "--help")
    assert code == 0
    summary = cli.commands[name].get_short_help_str(limit=60)
    assert summary.endswith(".")
    assert "..." not in summary
    assert re.search(rf"Example:\n +larqldb {name} ", out)


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_is_in_the_readme(name):
    assert f"larqldb {name}" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", cli.commands)
def test_every_example_is_a_valid_call(name):
    example = cli.commands[name].epilog.splitlines()[-1]
    program, command, *arguments = shlex.split(example)
    assert (program, command) == ("larqldb", name)
    with cli.commands[name].make_context(command, arguments) as context:
        assert isinstance(context, click.Context)


def test_help_on_the_whole(larqldb):
    code, out, _ = larqldb("--help")
    assert code == 0
    assert [line.split()[0] for line in out.partition("Commands:")[2].splitlines() if line] == list(cli.commands)


def test_version_tells_what_it_is_made_of(larqldb):
    code, out, _ = larqldb("--version")
    assert code == 0
    assert out.split()[0] == "larqldb"
    assert {"sqlite", "apsw", "sqlite_vec", "onnxruntime_providers"} <= {line.split()[0] for line in out.splitlines()}


@pytest.mark.parametrize("form", statements(), ids=lambda form: form.name)
def test_help_on_every_statement(larqldb, form):
    code, out, _ = larqldb("help", *form.verb)
    assert code == 0
    assert form.example in out


def test_help_lists_the_statements(larqldb):
    out = larqldb("help").out
    assert all(form.name in out for form in statements())


def test_help_suggests(larqldb):
    code, _, err = larqldb("help", "DESCRBE")
    assert code == 1
    assert "DESCRIBE" in err


# Queries


def test_query_is_the_default(larqldb, tiny_vindex):
    short, long = larqldb(tiny_vindex, COUNT), larqldb("query", tiny_vindex, COUNT)
    assert short == long
    assert json.loads(short.out)[0]["n"] > 0


def test_options_may_come_first(larqldb, tiny_vindex):
    assert larqldb("--csv", tiny_vindex, COUNT).out.splitlines()[0] == "n"


def test_lql(larqldb, tiny_vindex):
    rows = json.loads(larqldb(tiny_vindex, "SHOW LAYERS").out)
    assert [row["layer"] for row in rows] == sorted(row["layer"] for row in rows)


def test_several_statements(larqldb, tiny_vindex):
    out = larqldb(tiny_vindex, "SELECT 1 AS a; SELECT ';' AS b;; SELECT 3 AS c WHERE 0").out
    assert out == '[{"a": 1}]\n[{"b": ";"}]\n[]\n'


def test_values(larqldb, tiny_vindex):
    assert json.loads(larqldb(tiny_vindex, "SELECT ? AS a, ? AS b, ? AS c", "7", "1e3", "7a").out) == [
        {"a": 7, "b": 1000.0, "c": "7a"}
    ]
    out = larqldb(tiny_vindex, "SELECT :n AS n; SELECT :word AS w", "-p", "n", "-5", "-p", "word", "nan").out
    assert out == '[{"n": -5}]\n[{"w": "nan"}]\n'


def test_statements_from_standard_input(larqldb, tiny_vindex, monkeypatch):
    for arguments in ((), ("-",)):
        monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 1 AS a;\nSELECT 2 AS a\n"))
        assert larqldb(tiny_vindex, *arguments).out == '[{"a": 1}]\n[{"a": 2}]\n'


def test_changes_are_committed(larqldb, tiny_vindex):
    assert larqldb(tiny_vindex, "INSERT INTO relations (name) VALUES (?)", "height").code == 0
    assert larqldb(tiny_vindex, "SELECT name FROM relations WHERE name = 'height'").out == '[{"name": "height"}]\n'


def test_a_failure_undoes_what_went_before(larqldb, tiny_vindex):
    code, _, err = larqldb(tiny_vindex, "INSERT INTO relations (name) VALUES ('height'); SELECT nowhere FROM relations")
    assert code == 1
    assert "no such column: nowhere" in err
    assert larqldb(tiny_vindex, "SELECT name FROM relations WHERE name = 'height'").out == "[]\n"


def test_read_only(larqldb, tiny_vindex):
    code, _, err = larqldb(tiny_vindex, "DELETE FROM relations", "--read-only")
    assert code == 1
    assert "readonly" in err


def test_blobs_and_null(larqldb, tiny_vindex):
    statement = "SELECT x'00ff' AS blob, NULL AS none, 1e999 AS big"
    assert larqldb(tiny_vindex, statement).out == (
        '[{"blob": {"$base64": true, "encoded": "AP8="}, "none": null, "big": 9e999}]\n'
    )
    assert larqldb(tiny_vindex, statement, "--csv").out == "blob,none,big\n00ff,,inf\n"


# The other commands


def test_sql(larqldb, tiny_vindex):
    for arguments in (("SHOW LAYERS",), (tiny_vindex, "SHOW LAYERS")):
        code, out, _ = larqldb("sql", *arguments)
        assert code == 0
        assert out.startswith("SELECT")
    assert larqldb(tiny_vindex, larqldb("sql", "SHOW LAYERS").out) == larqldb(tiny_vindex, "SHOW LAYERS")
    assert larqldb("sql", "SELECT  1 -- as it is").out == "SELECT  1\n"


def test_sql_of_a_command(larqldb):
    code, _, err = larqldb("sql", "COMPACT MAJOR")
    assert code == 1
    assert "COMPACT MAJOR is a command" in err


def test_info(larqldb, tiny_vindex):
    properties = {row["property"]: row["value"] for row in json.loads(larqldb("info", tiny_vindex).out)}
    assert properties["architecture"] == "llama"


def test_extract(larqldb, tiny_model, tmp_path):
    code, out, _ = larqldb("extract", tiny_model, "-o", tmp_path / "new.vindex", "--level", "browse", "--layers", "0-0")
    assert code == 0
    rows = json.loads(out)
    assert rows[0]["what"] == "vindex"
    assert rows[0]["bytes"] == (tmp_path / "new.vindex").stat().st_size
    properties = json.loads(larqldb("info", tmp_path / "new.vindex").out)
    assert {"property": "level", "value": "browse"} in properties


def test_extract_where_something_is(larqldb, tiny_model, tiny_vindex):
    code, out, err = larqldb("extract", tiny_model, "-o", tiny_vindex)
    assert (code, out) == (1, "")
    assert "exists already" in err


def test_verify_a_sound_file(larqldb, tiny_vindex):
    assert larqldb("verify", tiny_vindex) == (0, "", f"{tiny_vindex} is sound\n")


def test_verify_finds_a_flipped_bit(larqldb, tiny_vindex):
    (blob,) = json.loads(larqldb(tiny_vindex, "SELECT up FROM feature_vectors LIMIT 1 OFFSET 7").out)[0].values()
    needle = base64.b64decode(blob["encoded"])
    flipped = bytes([needle[0], needle[1] ^ 1, *needle[2:]])
    content = tiny_vindex.read_bytes()
    assert needle in content
    tiny_vindex.write_bytes(content.replace(needle, flipped))  # a stale copy may lie in a page's unused part
    code, out, err = larqldb("verify", tiny_vindex)
    assert code == 1
    problems = json.loads(out)
    assert "model.layers.0.mlp.up_proj.weight" in [row["what"] for row in problems]
    assert err.startswith(f"Error: {tiny_vindex} is damaged: {len(problems)} ")


# Errors


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nowhere.vindex", "SELECT 1"), 1, "no model at nowhere.vindex"),
        (("extrct", "x"), 2, "Did you mean extract?"),
        (("query",), 2, "Missing argument 'FILE'"),
        (("extract", "x"), 2, "Missing option '-o'"),
        (("extract", "x", "-o", "y", "--layers", "5-"), 2, "'5-' is not a range such as 10-20"),
        (("extract", "/nowhere/at/all", "-o", "y"), 1, "/nowhere/at/all"),
        (("sql", "a", "b", "c"), 2, "give one statement, in quotes"),
        (("sql", "DESCRBE 'x'"), 1, "DESCRIBE"),
        (("FILE", "SELECT 1; SELECT ?", "1"), 2, "need a single statement"),
        (("FILE", "SELECT ?", "1", "-p", "a", "2"), 2, "not both"),
        (("FILE", "SELECT ?"), 1, "the statement has 1 parameter, none given"),
        (("FILE", "SELECT * FROM edgez"), 1, "Did you mean edges?"),
        ((__file__, "SELECT 1"), 1, "not an SQLite file, not a vindex"),
        ((".", "SELECT 1"), 1, "a directory, not a vindex"),
        (("--nothing",), 2, "No such option"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_errors_are_short_and_say_what_to_do(larqldb, tiny_vindex, arguments, code, says):
    given = [tiny_vindex if argument == "FILE" else argument for argument in arguments]
    outcome = larqldb(*given)
    assert outcome.code == code
    assert says in outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert len(outcome.err.splitlines()) <= 4


def test_a_mistake_of_ours_is_no_traceback_either(larqldb, monkeypatch):
    monkeypatch.setattr("larqldb.cli.app.to_sql", lambda _: 1 / 0)
    code, _, err = larqldb("sql", "SELECT 1")
    assert code == 1
    assert (
        err
        == "Error: ZeroDivisionError: division by zero\nThis is a mistake in larqldb; LARQLDB_DEBUG=1 shows where.\n"
    )


def test_a_reader_that_leaves(tiny_vindex):
    many = "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 300000) SELECT n FROM r"
    command = [sys.executable, "-m", "larqldb", str(tiny_vindex), many]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b'[{"n": 1},\n'
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode != 0


def test_ctrl_c(tiny_vindex):
    endless = "SELECT 1 AS n; WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"
    command = [sys.executable, "-u", "-m", "larqldb", str(tiny_vindex), endless]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b'[{"n": 1}]\n'
            time.sleep(0.3)  # SQLite is counting by then
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert err.strip() == b""


def test_it_runs_as_a_module_and_where_text_is_ascii(tiny_vindex):
    done = run_apart(tiny_vindex, "SELECT 'é' AS e", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout, done.stderr) == (0, '[{"e": "\\xe9"}]\n', "")


def test_a_file_in_a_read_only_place(tiny_vindex):
    folder = tiny_vindex.parent / "locked"
    folder.mkdir()
    shutil.copy(tiny_vindex, folder / "x.vindex")
    (folder / "x.vindex").chmod(0o444)
    folder.chmod(0o555)
    try:
        done = run_apart(folder / "x.vindex", COUNT)
        assert done.returncode == 0
        assert json.loads(done.stdout)[0]["n"] > 0
        assert [file.name for file in folder.iterdir()] == ["x.vindex"]
    finally:
        folder.chmod(0o755)


def test_compile(larqldb, tiny_vindex, tmp_path):
    code, out, err = larqldb("compile", str(tiny_vindex), "-o", str(tmp_path / "m.gguf"), "--quant", "f16", "--json")
    assert code == 0, err
    (row,) = json.loads(out)
    assert (row["what"], row["where"], row["bytes"]) == (
        "model", str(tmp_path / "m.gguf"), (tmp_path / "m.gguf").stat().st_size,
    )  # fmt: skip
    code, _, err = larqldb("compile", str(tiny_vindex), "-o", str(tmp_path / "m.gguf"))
    assert code == 1
    assert "exists already" in err
