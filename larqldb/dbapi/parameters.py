"""Python values → values SQLite stores: NULL, 64-bit integers, floats, text, bytes.

SQLite's binding takes any object with a buffer as a BLOB, so a ``numpy.float32`` would silently become four bytes;
everything that is not one of Python's own plain types is therefore converted here, or refused by name.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias, cast

import apsw

from larqldb.errors import DataError, Error, InterfaceError, ProgrammingError

NATIVE = frozenset({type(None), bool, int, float, str, bytes})
SQLValue: TypeAlias = bool | int | float | str | bytes | None
Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]
Bindings: TypeAlias = tuple[Any, ...] | list[Any] | Mapping[str, Any]

_COUNTS = re.compile(r"uses (\d+) and there are (\d+) supplied")


def bindings(parameters: Parameters) -> Bindings:
    """Parameters as SQLite can bind them: a tuple, or a mapping for ``:name`` placeholders.

    numpy scalars and arrays without dimensions become Python numbers and text; dates and times ISO 8601 text, a
    datetime with a space between its halves; Decimal a float; bytearray, memoryview and the like bytes; pandas' NaT
    NULL. Raises InterfaceError for any other type, naming it and its position; ProgrammingError where ``parameters``
    is no sequence or mapping.
    """
    if isinstance(parameters, (tuple, list)):
        for value in parameters:
            if value.__class__ not in NATIVE:
                return tuple([convert(value, place) for place, value in enumerate(parameters, 1)])
        return parameters
    if isinstance(parameters, Mapping):
        return parameters if _all_native(parameters) else NamedBindings(parameters)
    if _is_vector(parameters) or (isinstance(parameters, Sequence) and not isinstance(parameters, (str, bytes))):
        return tuple([convert(value, place) for place, value in enumerate(parameters, 1)])
    kind = type(parameters).__name__
    raise ProgrammingError(f"parameters must be a sequence or a mapping, not {kind}; for one value write (value,)")


class NamedBindings(Mapping[str, SQLValue]):
    """Named parameters, each converted when SQLite asks for it: names the statement does not use do not matter."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self._source = source

    def __getitem__(self, name: str) -> SQLValue:
        return convert(self._source[name], f":{name}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._source)

    def __len__(self) -> int:
        return len(self._source)


def convert(value: Any, place: int | str) -> SQLValue:
    """One value as SQLite stores it; ``place`` names it in errors (1-based position, or ``:name``)."""
    if value.__class__ in NATIVE:
        return cast(SQLValue, value)
    if type(value).__module__ in ("numpy", "ml_dtypes"):  # without importing them
        return _from_numpy(value, place)
    match value:
        case datetime.datetime():
            return None if value != value else value.isoformat(" ")  # NaT alone differs from itself
        case datetime.date() | datetime.time():
            return value.isoformat()
        case Decimal():
            return float(value)
        case int():
            return int(value)
        case float():
            return float(value)
        case str():
            return str.__str__(value)
        case bytes() | bytearray():
            return bytes(value)
        case memoryview():
            return value.tobytes()
    raise _unsupported(value, place)


def binding_problem(problem: Exception, given: Bindings, sql: str) -> Error | None:
    """What an exception of SQLite's binding step means, or None where it is not about the parameters."""
    match problem:
        case apsw.BindingsError():
            counts = _COUNTS.search(str(problem))
            if counts:
                wanted, got = map(int, counts.groups())
                return ProgrammingError(f"the statement has {counted(wanted, 'parameter')}, {got or 'none'} given")
            return ProgrammingError("the statement's parameters are numbered: give a sequence, not a mapping")
        case KeyError():
            return ProgrammingError(f"no value given for parameter :{problem.args[0]}")
        case OverflowError():
            for place, value in _places(given):
                if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
                    return DataError(f"parameter {place}: {value} does not fit into SQLite's 64-bit integers")
        case UnicodeEncodeError():
            for place, value in _places(given):
                if isinstance(value, str) and not _encodes(value):
                    return DataError(f"parameter {place} is text with half a surrogate pair, which UTF-8 cannot hold")
            return ProgrammingError("the statement holds half a surrogate pair, which UTF-8 cannot hold")
        case ValueError() if "\0" in sql:
            return ProgrammingError(f"the statement holds a NUL character at position {sql.index(chr(0)) + 1}")
    return None


def counted(number: int, noun: str) -> str:
    """'no rows', '1 row', '2 rows'."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _from_numpy(value: Any, place: int | str) -> SQLValue:
    if not hasattr(value, "ndim"):
        raise _unsupported(value, place)
    if value.ndim:
        raise InterfaceError(
            f"parameter {place} is an array of shape {value.shape}; bind its bytes, for instance "
            "array.astype('float32').tobytes()"
        )
    if value.dtype.kind == "M":
        return None if value != value else str(value).replace("T", " ")
    plain = float(value) if value.dtype.kind == "f" else value.item()  # item() leaves a longdouble as it is
    if plain.__class__ in NATIVE and value.dtype.kind != "m":
        return cast(SQLValue, plain)
    raise _unsupported(value, place)


def _unsupported(value: Any, place: int | str) -> InterfaceError:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return InterfaceError(f"parameter {place} is of type {name}, which SQLite cannot store; convert it first")


def _all_native(parameters: Mapping[str, Any]) -> bool:
    return parameters.__class__ is dict and all(value.__class__ in NATIVE for value in parameters.values())


def _is_vector(parameters: Any) -> bool:
    return type(parameters).__module__ == "numpy" and getattr(parameters, "ndim", 0) == 1


def _places(given: Bindings) -> Iterable[tuple[int | str, Any]]:
    if isinstance(given, Mapping):
        return ((f":{name}", value) for name, value in given.items())
    return enumerate(given, 1)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
