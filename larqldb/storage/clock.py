"""The time that files record."""

from __future__ import annotations

import os
from datetime import UTC, datetime

EPOCH = "SOURCE_DATE_EPOCH"  # https://reproducible-builds.org/specs/source-date-epoch/: seconds since 1970


def now() -> str:
    """The time, UTC, ISO 8601; what SOURCE_DATE_EPOCH says where that is set, so that files come out the same again."""
    stated = os.environ.get(EPOCH, "")
    time = datetime.fromtimestamp(int(stated), UTC) if stated.isdecimal() else datetime.now(UTC)
    return time.isoformat(timespec="seconds")
