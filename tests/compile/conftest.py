"""Small models of every family, extracted."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

import larqldb
from tests.tiny import FAMILIES, write_tiny


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request, tmp_path_factory):
    """A small model of each family in float32: its directory is ``model`` beside the vindex."""
    folder = tmp_path_factory.mktemp(request.param)
    larqldb.extract(write_tiny(folder / "model", family=request.param, dtype=np.float32), folder / "m.vindex")
    return folder / "m.vindex"


@pytest.fixture
def conn(family):
    """A connection in a transaction that is rolled back."""
    with closing(larqldb.connect(family)) as connection:
        connection.execute("BEGIN")
        yield connection
        connection.rollback()
