import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import larqldb
from larqldb import errors


def test_all_is_sorted():
    assert larqldb.__all__ == sorted(larqldb.__all__)


def test_nothing_public_is_forgotten():
    public = {name for name, value in vars(larqldb).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert public | larqldb._LATER.keys() == set(larqldb.__all__)
    assert all(hasattr(larqldb, name) for name in larqldb.__all__)


def test_every_exception_of_pep_249_is_public():
    assert {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    } >= {name for name in larqldb.__all__ if inspect.isclass(getattr(larqldb, name)) and name.endswith("Error")}


def test_the_version_is_the_projects():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert larqldb.__version__ == project["project"]["version"]


def test_lql_needs_no_import_of_its_own():
    code = "import larqldb; print(larqldb.lql.to_sql('STATS'), larqldb.lql.parse('STATS'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "FROM stats()" in " ".join(done.stdout.split())
