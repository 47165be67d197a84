"""The lists of statements, and a vindex's schema with stand-ins for the table functions."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import apsw.ext
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
MIGRATIONS = HERE.parents[1] / "migrations"

# name → (columns, number of arguments), as larqldb.lql.lowering documents them
WALK = "layer rank feature gate activation contribution token also relation"
TABLE_FUNCTIONS = {
    "walk": (WALK, 6),
    "explain_infer": (WALK, 5),
    "attention": ("layer lens_token lens_probability attended_token attended_weight", 3),
    "infer": ("rank token token_id probability mode kl rows_pulled row_share bytes_read", 4),
    "generate": ("text tokens", 3),
    "describe": ("relation target score layer feature layers hits also band confidence source", 6),
    "trace": ("layer position token rank probability attn ffn residual who", 6),
    "gate_match": ("layer feature score distance", 3),
    "added_features": ("layer feature token also relation score source gate_norm up_norm down_norm", 0),
    "stats": ("property value", 1),
    "diff": ("what where how_many bytes layer relation", 2),
}


def _statements(name: str) -> list[str]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


ACCEPT = _statements("accept.txt")
REJECT = _statements("reject.txt")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, statements in (("accepted", ACCEPT), ("rejected", REJECT)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, statements)


@pytest.fixture(scope="session")
def accept_list() -> list[str]:
    return ACCEPT


class Vindex:
    """An empty vindex in memory; ``calls`` are the table functions called, with their arguments."""

    def __init__(self) -> None:
        self.db = apsw.Connection(":memory:")
        self.calls: list[tuple[Any, ...]] = []
        for path in sorted(MIGRATIONS.glob("*.sql")):
            self.db.execute(path.read_text(encoding="utf-8"))
        for name, (columns, arguments) in TABLE_FUNCTIONS.items():
            self._add(name, tuple(columns.split()), arguments)

    def _add(self, name: str, columns: tuple[str, ...], arguments: int) -> None:
        names = [f"argument_{number}" for number in range(arguments)]

        def rows(**given: Any) -> Iterator[tuple[Any, ...]]:
            self.calls.append((name, *given.values()))
            yield tuple(3 if column in ("layer", "feature") else None for column in columns)

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        rows.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(argument, kind, default=None) for argument in names]
        )
        rows.columns = columns  # type: ignore[attr-defined]
        rows.column_access = apsw.ext.VTColumnAccess.By_Index  # type: ignore[attr-defined]
        apsw.ext.make_virtual_module(self.db, name, rows)

    def run(self, sql: str, bindings: Any = None) -> list[tuple[Any, ...]]:
        self.calls.clear()
        return list(self.db.execute(sql, bindings))


@pytest.fixture
def vindex() -> Iterator[Vindex]:
    made = Vindex()
    yield made
    made.db.close()


@pytest.fixture(scope="module")
def shared_vindex() -> Iterator[Vindex]:
    made = Vindex()
    yield made
    made.db.close()
