r"""SQLAlchemy's dialect for vindexes: ``create_engine("larqldb:///gemma.vindex")``.

It is SQLAlchemy's SQLite dialect, under its name, over larqldb's connections, so that everything that is written for
``sqlite`` (types, reflection, ON CONFLICT, Alembic, pandas) works; ``engine.driver`` is "larqldb". LQL goes through
``text()`` and ``exec_driver_sql()`` like SQL. In ``text()`` a colon before a word names a parameter also between
quotes, as everywhere in SQLAlchemy; write ``\:`` for the colon itself.

Nothing in larqldb imports this module: SQLAlchemy finds it by its entry point.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc, pool, util
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine import reflection

import larqldb
from larqldb.storage.database import MEMORY

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import ConnectArgsType, DBAPIConnection, IsolationLevel
    from sqlalchemy.engine.url import URL

OPTIONS: dict[str, Callable[[str], Any]] = {"read_only": util.asbool, "cache_mb": int, "precision": str, "walk": str}
FORMS = "larqldb:///NAME.vindex, larqldb:////FOLDER/NAME.vindex or larqldb:///:memory:"


class Dialect(SQLiteDialect):
    """``larqldb:///PATH?read_only=true&cache_mb=512``: the options are those of ``larqldb.connect``.

    A transaction begins with SQLAlchemy's own, by a BEGIN: DDL, savepoints and what is read all belong to it, until
    ``commit`` or ``rollback``. In the isolation level AUTOCOMMIT nothing begins one.
    """

    driver = "larqldb"
    default_paramstyle = "qmark"
    supports_statement_cache = True
    returns_native_bytes = True

    _isolation_lookup = SQLiteDialect._isolation_lookup.union({"AUTOCOMMIT": None})

    @classmethod
    def import_dbapi(cls) -> Any:
        """The PEP 249 module."""
        return larqldb

    @classmethod
    def get_pool_class(cls, url: URL) -> type[pool.Pool]:
        """For files a queue: its connections stay open, and the weights they loaded stay warm, until ``dispose``."""
        return pool.QueuePool if _path(url) != MEMORY else pool.SingletonThreadPool

    def create_connect_args(self, url: URL) -> ConnectArgsType:
        """The arguments of ``larqldb.connect``; ArgumentError where the URL is not one of larqldb's."""
        if url.host or url.port or url.username or url.password:
            raise exc.ArgumentError(f"{url!r} names a host; a file has three slashes: {FORMS}")
        options = {name: _option(name, value) for name, value in url.query.items()}
        path = _path(url)
        return [path if path == MEMORY else os.path.abspath(path)], options

    def on_connect(self) -> Callable[[DBAPIConnection], None]:
        """What a new connection is given: the function behind SQLAlchemy's ``regexp_match``."""
        return _add_regexp

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin a transaction, unless each statement is one."""
        if not dbapi_connection.autocommit and not dbapi_connection.in_transaction:
            dbapi_connection.execute("BEGIN")

    def set_isolation_level(self, dbapi_connection: Any, level: IsolationLevel) -> None:
        """SERIALIZABLE, READ UNCOMMITTED or AUTOCOMMIT."""
        dbapi_connection.autocommit = level == "AUTOCOMMIT"
        if level != "AUTOCOMMIT":
            super().set_isolation_level(dbapi_connection, level)

    def get_isolation_level(self, dbapi_connection: Any) -> IsolationLevel:
        """The level that was set."""
        if dbapi_connection.autocommit:
            return "AUTOCOMMIT"
        level: IsolationLevel = super().get_isolation_level(dbapi_connection)  # type: ignore[no-untyped-call]
        return level

    def detect_autocommit_setting(self, dbapi_conn: Any) -> bool:
        """Whether the isolation level is AUTOCOMMIT."""
        return bool(dbapi_conn.autocommit)

    @reflection.cache
    def has_table(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> bool:
        """Whether there is a table or view of this name; ``walk`` and the other table functions are none."""
        self._ensure_has_table_connection(connection)
        query = "SELECT count(*) FROM pragma_table_list WHERE name = ? COLLATE NOCASE AND schema = ifnull(?, schema)"
        return bool(connection.exec_driver_sql(query, (table_name, schema)).scalar())

    def is_disconnect(self, e: BaseException, connection: Any, cursor: Any) -> bool:
        """Whether an error means that the connection was closed underneath SQLAlchemy."""
        return isinstance(e, larqldb.ProgrammingError) and str(e) == "the connection is closed"

    def retrieve_dbapi_version(self, dbapi: Any) -> util.VersionInfo:
        """The version of larqldb; that of SQLite is ``server_version_info``."""
        return util.parse_version_string(larqldb.__version__)

    def _get_server_version_info(self, connection: Any) -> Sequence[int]:
        return larqldb.sqlite_version_info


def _path(url: URL) -> str:
    return url.database or MEMORY


def _option(name: str, value: str | tuple[str, ...]) -> Any:
    if name not in OPTIONS:
        raise exc.ArgumentError(f"unknown option {name} in a URL of larqldb; known are {', '.join(OPTIONS)}")
    try:
        if isinstance(value, str):
            return OPTIONS[name](value)
    except ValueError:
        pass
    raise exc.ArgumentError(f"option {name} in a URL of larqldb cannot be {value!r}")


def _add_regexp(connection: Any) -> None:
    connection.database.create_scalar_function("regexp", _regexp, 2, deterministic=True)


def _regexp(pattern: str, value: str | None) -> bool | None:
    """``value REGEXP pattern``."""
    return None if value is None else re.search(pattern, value) is not None
