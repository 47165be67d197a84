"""Connections for the tests of functions; every one is closed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import larqldb


@pytest.fixture
def conn(tiny_vindex: Path) -> Iterator[larqldb.Connection]:
    """The tiny vindex, a copy of the test's own."""
    connection = larqldb.connect(tiny_vindex)
    yield connection
    connection.close()


@pytest.fixture
def smollm2(smollm2_vindex: Path) -> Iterator[larqldb.Connection]:
    connection = larqldb.connect(smollm2_vindex, read_only=True)
    yield connection
    connection.close()


@pytest.fixture
def gemma3(gemma3_vindex: Path) -> Iterator[larqldb.Connection]:
    connection = larqldb.connect(gemma3_vindex, read_only=True)
    yield connection
    connection.close()
