"""Table-valued functions: a Python function that yields rows, as a table SQL can select from and join.

Arguments are hidden columns, as SQLite's own table-valued functions have them
(https://www.sqlite.org/vtab.html#table_valued_functions); leaving some out from the right, or NULL, means the
function's default. Functions that work layer by layer are told, as ``within=(first, last)``, which layers a WHERE
clause leaves, so that it spares the work on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from larqldb.errors import ProgrammingError

Row = Sequence[Any]

# How a comparison with n narrows the layers: which end it bounds, and by how much n is moved to be inclusive.
BOUNDS = {
    apsw.SQLITE_INDEX_CONSTRAINT_EQ: (("first", 0), ("last", 0)),
    apsw.SQLITE_INDEX_CONSTRAINT_GE: (("first", 0),),
    apsw.SQLITE_INDEX_CONSTRAINT_GT: (("first", 1),),
    apsw.SQLITE_INDEX_CONSTRAINT_LE: (("last", 0),),
    apsw.SQLITE_INDEX_CONSTRAINT_LT: (("last", -1),),
}


@dataclass(frozen=True, slots=True)
class TableFunction:
    """A function's name, its columns and arguments (in order), and what computes its rows.

    ``columns`` are declarations ("layer INTEGER"); ``required`` counts the arguments that may not be left out.
    ``rows`` is called with the arguments by name, those left out absent; it yields tuples in column order. With
    ``by_layer`` every row belongs to one layer, whatever other layers hold, and ``rows`` takes ``within``.
    """

    name: str
    columns: tuple[str, ...]
    arguments: tuple[str, ...]
    required: int
    rows: Callable[..., Iterable[Row]]
    by_layer: bool = False

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns without their types."""
        return tuple(column.split()[0] for column in self.columns)


def register(db: apsw.Connection, function: TableFunction) -> None:
    """Make a function selectable on a connection."""
    module: Any = _Module(function)  # apsw's protocol asks for methods that a read-only module never has called
    db.create_module(
        function.name, module, use_bestindex_object=True, eponymous=True, eponymous_only=True, read_only=True
    )


class _Module:
    """What SQLite asks when the table is first named."""

    def __init__(self, function: TableFunction) -> None:
        self.function = function

    def Connect(self, db: apsw.Connection, *names: str) -> tuple[str, _Table]:  # noqa: N802 - apsw's name
        function = self.function
        taken = {name.lower() for name in function.column_names}
        # An argument that shares a column's name ("mode") is hidden under another one; arguments go by position.
        hidden = [f'"{name}{"_" if name in taken else ""}" HIDDEN' for name in function.arguments]
        return f"CREATE TABLE x ({', '.join((*function.columns, *hidden))})", _Table(function)

    Create = Connect


class _Table:
    """What SQLite asks while it plans a query."""

    def __init__(self, function: TableFunction) -> None:
        self.function = function

    def BestIndexObject(self, index: apsw.IndexInfo) -> bool:  # noqa: N802 - apsw's name
        """Choose which comparisons become arguments: idxStr lists what each value is, by argument or by operator."""
        columns, names = self.function.column_names, self.function.arguments
        given: list[str] = []
        for i in range(index.nConstraint):
            column, operator = index.get_aConstraint_iColumn(i), index.get_aConstraint_op(i)
            if column >= len(columns):
                if operator != apsw.SQLITE_INDEX_CONSTRAINT_EQ:
                    continue
                if not index.get_aConstraint_usable(i):
                    return False  # an argument that depends on a table not read yet: another join order
                if f"argument {column - len(columns)}" in given:
                    continue  # a second value for it: SQLite compares that one with Column
                given.append(f"argument {column - len(columns)}")
                index.set_aConstraintUsage_omit(i, True)
            elif (
                self.function.by_layer
                and column >= 0
                and columns[column] == "layer"
                and operator in BOUNDS
                and index.get_aConstraint_usable(i)
            ):
                given.append(f"operator {operator}")
            else:
                continue
            index.set_aConstraintUsage_argvIndex(i, len(given))
        index.idxStr = ",".join(given)
        index.estimatedRows = 50 if any(part.startswith("operator") for part in given) else 300
        index.estimatedCost = 1e6 / (1 + len(given))  # the more it is told, the less it computes
        missing = [name for i, name in enumerate(names[: self.function.required]) if f"argument {i}" not in given]
        if missing:
            raise ProgrammingError(
                f"{self.function.name}() needs {', '.join(missing)}. Call it as "
                f"{self.function.name}({', '.join(names)}); arguments may be left out from the right"
            )
        return True

    def Open(self) -> _Cursor:  # noqa: N802 - apsw's name
        return _Cursor(self.function)

    def Disconnect(self) -> None:  # noqa: N802 - apsw's name
        """Nothing is held."""

    Destroy = Disconnect


class _Cursor:
    """One scan of the rows."""

    def __init__(self, function: TableFunction) -> None:
        self.function = function
        self.arguments: dict[str, Any] = {}
        self.rows: Iterator[Row] = iter(())
        self.row: Row | None = None
        self.number = 0

    def Filter(self, _: int, plan: str | None, values: Sequence[Any] | None) -> None:  # noqa: N802 - apsw's name
        """Start: call the function with what the plan says the values are."""
        self.arguments = arguments = {}
        bounds: list[tuple[str, Any]] = []
        for what, value in zip((plan or "").split(",") if plan else (), values or (), strict=True):
            kind, number = what.split()
            if kind == "argument":
                if value is not None:
                    arguments[self.function.arguments[int(number)]] = value
            elif isinstance(value, int):  # anything else compares in ways that are SQLite's to decide, row by row
                bounds += [(name, value + step) for name, step in BOUNDS[int(number)]]
        missing = [name for name in self.function.arguments[: self.function.required] if name not in arguments]
        self.rows = iter(self.function.rows(**arguments, **_narrowed(bounds))) if not missing else iter(())
        self.number = 0
        self.Next()

    def Eof(self) -> bool:  # noqa: N802 - apsw's name
        return self.row is None

    def Next(self) -> None:  # noqa: N802 - apsw's name
        self.row = next(self.rows, None)
        self.number += 1

    def Column(self, number: int) -> Any:  # noqa: N802 - apsw's name
        if number < 0:
            return self.number
        assert self.row is not None
        hidden = number - len(self.function.columns)
        return self.row[number] if hidden < 0 else self.arguments.get(self.function.arguments[hidden])

    def Rowid(self) -> int:  # noqa: N802 - apsw's name
        return self.number

    def Close(self) -> None:  # noqa: N802 - apsw's name
        self.rows = iter(())


def _narrowed(bounds: list[tuple[str, Any]]) -> dict[str, Any]:
    """The layers that a WHERE clause leaves, as the argument ``within``."""
    if not bounds:
        return {}
    first = [value for end, value in bounds if end == "first"]
    last = [value for end, value in bounds if end == "last"]
    return {"within": (max(first, default=0), min(last, default=1 << 60))}
