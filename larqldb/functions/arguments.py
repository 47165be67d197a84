"""What functions are called with from SQL: checked, with an error that says what was expected."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from larqldb.errors import DataError, ProgrammingError
from larqldb.storage.dtypes import NUMPY, as_float32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session


_ENCODER = json.JSONEncoder(ensure_ascii=False)


def positive(value: object, what: str) -> int:
    """A count from SQL; ProgrammingError unless it is a whole number from 1."""
    if not isinstance(value, int) or value < 1:
        raise ProgrammingError(f"{what} must be a whole number from 1, not {value!r}")
    return value


def one_of(value: object, choices: Sequence[str], what: str) -> str:
    """A word from SQL, in lower case; ProgrammingError unless it is one of ``choices``."""
    word = value.lower() if isinstance(value, str) else value
    if word not in choices:
        raise ProgrammingError(f"{what} {value!r} is not one of {', '.join(choices)}")
    return str(word)


def token_ids(session: Session, text: object, what: str) -> list[int]:
    """The tokens of a text, without special ones; DataError where there are none, ProgrammingError for other types."""
    ids = session.tokenizer.encode(_written(text, what), special=False)
    if not ids:
        raise DataError(f"the {what} is empty: give at least one word")
    return ids


def mention(session: Session, text: object, what: str) -> list[int]:
    """The tokens of a name as it stands inside a sentence, without special ones; errors as of ``token_ids``.

    That is with a space before it, unless the tokenizer needs more tokens then, as for scripts without spaces.
    """
    name = _written(text, what).strip()
    spaced, bare = token_ids(session, f" {name}", what), token_ids(session, name, what)
    return spaced if len(spaced) <= len(bare) else bare


def vector(session: Session, query: object, role: str) -> NDArray[np.float32] | None:
    """A query that is a vector, as float32 [hidden]; None for a text.

    A vector is a JSON array, or a BLOB of float32 numbers or of numbers in the dtype of the vindex's own ``role``
    vectors, so that a column of ``feature_vectors`` may be given. DataError where it has another length or holds
    numbers that are not finite.
    """
    hidden = session.network.hidden
    if isinstance(query, bytes):
        stored = session.store.find(role, session.layers[0])
        types = [NUMPY["F32"], *([NUMPY[stored.dtype]] if stored else [])]
        found = next(
            (as_float32(np.frombuffer(query, kind)) for kind in types if len(query) == hidden * kind.itemsize), None
        )
        if found is None:
            raise DataError(f"the query is a BLOB of {len(query)} bytes; a vector of {hidden} float32 is {hidden * 4}")
    elif isinstance(query, str) and query.lstrip().startswith("["):
        try:
            found = np.array(json.loads(query), np.float32)
        except (ValueError, TypeError):
            return None  # a text that happens to start with a bracket
        if found.shape != (hidden,):
            raise DataError(f"the query vector has shape {list(found.shape)}, this model's vectors are [{hidden}]")
    else:
        return None
    if not np.isfinite(found).all():
        raise DataError("the query vector holds numbers that are not finite")
    return found


def json_array(values: Sequence[object]) -> str:
    """A JSON array as text, in the original script."""
    return _ENCODER.encode(values)


def _written(text: object, what: str) -> str:
    if not isinstance(text, str):
        raise ProgrammingError(f"{what} must be text, not {type(text).__name__}")
    if not text.strip():
        raise DataError(f"the {what} is empty: give at least one word")
    return text
