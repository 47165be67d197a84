"""The public-domain DB-API compliance suite (package dbapi-compliance), run against larqldb."""

from pathlib import Path
from typing import Any, ClassVar

import dbapi20
import pytest

import larqldb


class TestCompliance(dbapi20.DatabaseAPI20Test):
    driver = larqldb
    connect_args: ClassVar[Any] = ()

    @pytest.fixture(autouse=True)
    def _database(self, empty_vindex: Path) -> None:
        self.connect_args = (empty_vindex,)

    def test_non_idempotent_close(self) -> None:
        connection = self._connect()
        connection.close()
        assert connection.close() is None  # PEP 249 leaves this open; a second close is harmless, as in sqlite3

    def test_nextset(self) -> None:
        assert not hasattr(larqldb.Cursor, "nextset")  # PEP 249: left out where not supported

    def test_setoutputsize(self) -> None:
        with self._connect() as connection:
            cursor = connection.cursor()
            cursor.setoutputsize(10)
            cursor.setoutputsize(10, 0)
            assert cursor.execute("SELECT 'longer than ten'").fetchone() == ("longer than ten",)
        connection.close()
