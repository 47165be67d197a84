import subprocess
import sys
from pathlib import Path

import pytest

import larqldb


@pytest.mark.parametrize("path", [str, Path])
def test_paths(empty_vindex, path):
    connection = larqldb.connect(path(empty_vindex))
    assert connection.path == str(empty_vindex)
    assert connection.execute("SELECT count(*) FROM features").fetchone() == (0,)
    connection.close()


def test_memory_is_an_empty_vindex(conn):
    assert conn.execute("SELECT max(version) FROM migrations").fetchone()[0] >= 4
    assert conn.execute("SELECT * FROM edges").fetchall() == []


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"precision": "int2"}, larqldb.InterfaceError, "precision must be one of float32, int8, int4, not 'int2'"),
        ({"walk": "hybrid"}, larqldb.InterfaceError, "walk must be a whole number from 1"),
        ({"cache_mb": 0}, larqldb.InterfaceError, "whole number of MiB"),
        ({"cache_mb": 1.5}, larqldb.InterfaceError, "whole number of MiB"),
    ],
)
def test_options(options, kind, message):
    with pytest.raises(kind, match=message):
        larqldb.connect(":memory:", **options)


def test_the_cache_is_bounded(empty_vindex):
    connection = larqldb.connect(empty_vindex, cache_mb=3)
    assert connection.session.cache_bytes == 3 << 20
    connection.close()


@pytest.mark.parametrize(
    ("path", "kind"), [(None, larqldb.InterfaceError), ("nowhere.vindex", larqldb.OperationalError)]
)
def test_paths_that_are_not(path, kind):
    with pytest.raises(kind):
        larqldb.connect(path)


def test_pep_249_globals():
    assert (larqldb.apilevel, larqldb.paramstyle, larqldb.threadsafety) == ("2.0", "qmark", 1)


def test_the_exceptions_are_on_the_connection(conn):
    for name in (
        *("Warning", "Error", "InterfaceError", "DatabaseError", "DataError", "OperationalError", "IntegrityError"),
        *("InternalError", "ProgrammingError", "NotSupportedError"),
    ):
        assert getattr(conn, name) is getattr(larqldb, name)


def test_connecting_loads_no_heavy_library(empty_vindex):
    program = f"""
import sys, larqldb
connection = larqldb.connect({str(empty_vindex)!r})
assert connection.execute("SELECT count(*) FROM features").fetchone() == (0,)
connection.execute("INSERT INTO relations (name) VALUES (?)", ("a",))
connection.close()
heavy = "onnxruntime onnx tokenizers gguf huggingface_hub sqlglot sqlite3 rich click prompt_toolkit".split()
print(*(name for name in heavy if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_build_info():
    info = larqldb.build_info()
    assert info["larqldb"] == larqldb.__version__
    assert info["sqlite_vec"].startswith("v0.1.9")
    assert "CPUExecutionProvider" in info["onnxruntime_providers"]
    assert any(option.startswith("THREADSAFE") for option in info["sqlite_compile_options"])
