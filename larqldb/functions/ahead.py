"""Prompts that run together because a join is about to ask for them one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import apsw

from larqldb.errors import Error
from larqldb.functions.runs import prompt_ids
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from larqldb.functions.session import Session

MOST = 32  # prompts that run together: bounds the logits that wait
PAGE = 1024  # prompts read at a time


class Ahead:
    """What a statement's join will ask infer() for, as far as it can be foreseen.

    ``query`` selects the prompts (``lql.lookahead``). The first prompt runs alone, then two, four, … up to ``MOST``
    together, so that a statement which ends early (LIMIT) has not run many more than it needed.
    """

    def __init__(self, session: Session, query: str, bindings: Sequence[Any] | Mapping[str, Any]) -> None:
        self._session, self._query = session, query
        named = bindings if isinstance(bindings, Mapping) else {f"p{n}": value for n, value in enumerate(bindings, 1)}
        self._bindings = dict(named)
        self._page: list[str] = []
        self._read = 0  # rows of the query
        self._ended = False
        self._size = 1
        self._ready: dict[str, NDArray[np.float32]] = {}
        self._last: tuple[str, NDArray[np.float32]] | None = None

    def logits(self, prompt: str, ids: list[int]) -> NDArray[np.float32]:
        """Logits of the token after a prompt, float32 [vocab]; errors as of ``Runner.logits``."""
        if self._last is None or self._last[0] != prompt:
            if prompt not in self._ready:
                self._ready = self._run(prompt, ids)
            self._last = prompt, self._ready.pop(prompt)
        return self._last[1]

    def _run(self, prompt: str, ids: list[int]) -> dict[str, NDArray[np.float32]]:
        """Logits of a prompt and of those that come after it in the query; of it alone where it is not there."""
        runner, together = self._session.runner, {prompt: ids}
        while (text := self._next()) is not None and text != prompt:
            pass
        while len(together) < self._size and (text := self._next()) is not None:
            with suppress(Error):  # what is wrong with a prompt is said when it is asked for
                found = prompt_ids(self._session, "INFER", text)
                runner.check(found)
                together[text] = found
        self._size = min(MOST, 2 * self._size)
        return dict(zip(together, runner.batch(list(together.values())), strict=True))

    def _next(self) -> str | None:
        """The next prompt of the query; None after the last."""
        if not self._page and not self._ended:
            rows: list[tuple[Any, ...]] = []
            with suppress(apsw.Error):  # a guess that SQLite cannot run: every prompt runs alone
                rows = fetch(self._session.db, f"{self._query} LIMIT {PAGE} OFFSET {self._read}", self._bindings)
            self._read += len(rows)
            self._ended = len(rows) < PAGE
            self._page = [text for (text,) in reversed(rows) if isinstance(text, str)]
        return self._page.pop() if self._page else None
