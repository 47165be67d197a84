"""The walk's budgets: how much of each layer it pulls by default, and the measurement that says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from larqldb.storage.database import fetch

if TYPE_CHECKING:
    import apsw


@dataclass(frozen=True)
class Budgets:
    """What a measurement found: a rule of ``larqldb.model.walk.Choice`` with a number for each layer.

    ``text`` says what it was measured on; ``kl`` (nats per token, to the whole network), ``agreement`` (share of equal
    most probable tokens) and ``share`` (of all rows that were pulled) are what came out there.
    """

    rule: str
    numbers: tuple[float, ...]
    text: str
    tokens: int
    kl: float
    agreement: float
    share: float


def read(db: apsw.Connection) -> Budgets | None:
    """The budgets in the file, if it holds any."""
    found = fetch(db, "SELECT rule, text, tokens, kl, agreement, share FROM walk_measurement")
    if not found:
        return None
    rule, text, tokens, kl, agreement, share = found[0]
    numbers = tuple(number for (number,) in fetch(db, "SELECT number FROM walk_budgets ORDER BY layer"))
    return Budgets(rule, numbers, text, tokens, kl, agreement, share)


def write(db: apsw.Connection, budgets: Budgets) -> None:
    """Put budgets into the file in place of those it holds."""
    with db:
        db.execute("DELETE FROM walk_budgets")
        db.execute("DELETE FROM walk_measurement")
        db.execute(
            "INSERT INTO walk_measurement (rule, text, tokens, kl, agreement, share, measured_at) "
            "VALUES (?, ?, ?, ?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))",
            (budgets.rule, budgets.text, budgets.tokens, budgets.kl, budgets.agreement, budgets.share),
        )
        db.executemany("INSERT INTO walk_budgets (layer, number) VALUES (?, ?)", enumerate(budgets.numbers))
