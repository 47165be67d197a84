"""Bands found by tracing the model, into the table ``layers``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from larqldb.dbapi.connection import Connection


def store_bands(connection: Connection) -> None:
    """Trace the model and write each layer's band with its evidence, in a transaction like every change.

    Runs twelve short prompts for each layer below the output band. Errors as of ``layer_roles``.
    """
    from larqldb.functions.layer_roles import FACTS, METHOD, layer_roles

    rows = layer_roles(connection.session)
    connection.executemany("UPDATE layers SET band = ?2, answers_read = ?3, knockout = ?4 WHERE layer = ?1", rows)
    method = METHOD.format(count=sum(map(len, FACTS.values())))
    connection.execute("UPDATE model SET value = ? WHERE key = 'bands_method'", (method,))
