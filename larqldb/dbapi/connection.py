"""Connection: one vindex, open for SQL and LQL."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, overload

import apsw

from larqldb import errors
from larqldb.dbapi.cursor import Cursor
from larqldb.dbapi.failures import translate
from larqldb.dbapi.parameters import Parameters
from larqldb.dbapi.statements import to_sql
from larqldb.errors import InterfaceError, ProgrammingError
from larqldb.functions import register
from larqldb.functions.session import Session
from larqldb.functions.walking import check as check_walk
from larqldb.model.quantise import PRECISIONS
from larqldb.storage.database import open_database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from larqldb.dbapi.interventions import Intervention, Layers, Patched, Prompt
    from larqldb.edit.editor import Editor


def connect(
    path: str | os.PathLike[str],
    *,
    read_only: bool = False,
    precision: str = "float32",
    walk: int | float | None = None,
    cache_mb: int = 256,
) -> Connection:
    """Open a vindex for SQL and LQL; ``:memory:`` gives an empty one.

    This costs milliseconds: the model's weights load at the first statement that needs them. ``cache_mb`` bounds what
    feature vectors may take in memory between statements, in MiB. ``precision`` is what the whole network's matrices
    are held in when it runs: "float32", "int8" or "int4" (8 or 4 bits in blocks of 32, the head 8; smaller and faster,
    not the model's exact answers). With ``walk`` INFER and generation run only the features that contribute most: so
    many of each layer (a whole number), those that hold this share of the contributions (a fraction up to 1.0), or as
    budgets in the file say (True). Their rows are pulled from the file, and the whole network is never in memory; the
    rest is held in 8 bits, whatever ``precision``. Raises SourceNotFound, NotAVindex, NewerVindex, OutdatedVindex or
    DamagedVindex where the file is not one to open, InterfaceError for an argument that is none of these.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InterfaceError(f"a path must be text or a Path, not {type(path).__name__}")
    if precision not in PRECISIONS:
        raise InterfaceError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if not isinstance(cache_mb, int) or isinstance(cache_mb, bool) or cache_mb < 1:
        raise InterfaceError(f"cache_mb must be a whole number of MiB from 1 up, not {cache_mb!r}")
    return Connection(
        os.fspath(path), read_only=read_only, cache_mb=cache_mb, walk=check_walk(walk), precision=precision
    )


class Connection:
    """A PEP 249 connection; make one with ``larqldb.connect``.

    A transaction begins by itself before the first INSERT, UPDATE, DELETE or REPLACE and lasts until ``commit`` or
    ``rollback``; BEGIN and SAVEPOINT may also be written out. ``with connection:`` commits, or rolls back on an
    exception, and leaves the connection open, as in the standard library's sqlite3. Closing rolls back. With
    ``autocommit`` set to True no transaction begins by itself: each statement is permanent when it ends.

    INSERT, UPDATE and DELETE on edges measure what they did to other answers; with ``reports`` set to False they say
    only what they must know themselves, and take less time.

    A connection may move between threads but serves one at a time (``threadsafety`` 1): open one for each.
    ``session`` is the model behind it.
    """

    Warning = errors.Warning
    Error = errors.Error
    InterfaceError = errors.InterfaceError
    DatabaseError = errors.DatabaseError
    DataError = errors.DataError
    OperationalError = errors.OperationalError
    IntegrityError = errors.IntegrityError
    InternalError = errors.InternalError
    ProgrammingError = errors.ProgrammingError
    NotSupportedError = errors.NotSupportedError

    def __init__(self, path: str, *, read_only: bool, cache_mb: int, walk: int | float | None, precision: str) -> None:
        self._database: apsw.Connection | None = None
        self._editor: Editor | None = None
        self.autocommit = False
        self.reports = True
        self._read_only = read_only
        self._cache_mb = cache_mb
        self._walk = walk
        self._precision = precision
        self._open(path)

    @property
    def database(self) -> apsw.Connection:
        """The apsw connection underneath, for what PEP 249 has no words for; ProgrammingError when closed."""
        if self._database is None:
            raise ProgrammingError("the connection is closed")
        return self._database

    @property
    def path(self) -> str:
        """The file's name as it was given to ``connect`` or USE."""
        return self._path

    @property
    def in_transaction(self) -> bool:
        """Whether there is something to commit or roll back."""
        return self.database.in_transaction

    def cursor(self) -> Cursor:
        """A new cursor."""
        return Cursor(self)

    def execute(self, operation: str, parameters: Parameters = (), /) -> Cursor:
        """Run one statement on a new cursor and return the cursor."""
        return Cursor(self).execute(operation, parameters)

    def executemany(self, operation: str, seq_of_parameters: Iterable[Parameters], /) -> Cursor:
        """Run a statement for each set of parameters on a new cursor and return the cursor."""
        return Cursor(self).executemany(operation, seq_of_parameters)

    def executescript(self, sql_script: str, /) -> Cursor:
        """Run several statements on a new cursor and return the cursor."""
        return Cursor(self).executescript(sql_script)

    def to_sql(self, operation: str, /) -> str:
        """The SQL that a statement of LQL becomes; plain SQL comes back as it is."""
        self.database  # noqa: B018 - raises where closed
        return to_sql(operation)

    @overload
    def capture(self, prompt: Prompt, layers: Layers = None, what: str = "residual") -> NDArray[np.float32]: ...

    @overload
    def capture(
        self, prompt: Prompt, layers: Layers = None, *, what: list[str] | tuple[str, ...]
    ) -> dict[str, NDArray[np.float32]]: ...

    def capture(
        self, prompt: Prompt, layers: Layers = None, what: str | list[str] | tuple[str, ...] = "residual"
    ) -> NDArray[np.float32] | dict[str, NDArray[np.float32]]:
        """What the network computes on a prompt, as float32 arrays.

        ``prompt`` is text, or token ids as they are; ``layers`` a layer, several in the order wanted, or None for all.
        ``what`` is one of the following, or several, which gives a dictionary. s: positions of the prompt.

            residual, attention, ffn  [layers, s, hidden]  the residual after the layer; what each block added to it
            ffn_input                 [layers, s, hidden]  normed, what gates are compared with
            activations               [layers, s, features]  act(gate·x) · (up·x), a feature's in its number's column
            heads, queries            [layers, s, heads, head_dim]  what heads read; queries before rotation
            keys, values              [layers, s, kv_heads, head_dim]  keys before rotation
            attention_weights         [layers, heads, s, s]  reader, then read; rows sum to 1
            embedding                 [s, hidden]  what enters layer 0, whatever the layers

        The residual is the embedding plus all that attention and FFN added up to it. Raises BadPrompt for a prompt
        that is empty or too long, ProgrammingError for layers or kinds that are not there, MissingPart where the
        vindex does not hold the network.
        """
        from larqldb.dbapi import interventions

        if isinstance(what, str):
            return interventions.capture(self._open_session(), prompt, layers, what)
        return {kind: interventions.capture(self._open_session(), prompt, layers, kind) for kind in what}

    def logit_lens(
        self, prompt: Prompt, layers: Layers = None, positions: int | Sequence[int] = -1
    ) -> NDArray[np.float32]:
        """Logits if the network ended after each layer: float32 [layers, positions, vocab].

        Final norm and head on the residual, https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru. Positions count from
        the end when negative; the last one alone without them. Errors as of ``capture``.
        """
        from larqldb.dbapi import interventions

        return interventions.logit_lens(self._open_session(), prompt, layers, positions)

    def ablate(
        self, *, layer: int, features: Iterable[int] | None = None, heads: Iterable[int] | None = None
    ) -> Intervention:
        """Silence features or attention heads of a layer inside a ``with`` block: what they write becomes zero.

        Features that edits added have numbers behind the layer's own (SHOW FEATURES): without them the logits are those
        without the edit, bit for bit.
        INFER, generation, EXPLAIN INFER, TRACE and ``capture`` on this connection run without them until the block
        ends. Blocks inside one another add up. Raises ProgrammingError for a layer, feature or head that is not there.
        """
        from larqldb.dbapi import interventions

        return interventions.ablate(self._open_session(), layer, features, heads)

    def steer(self, layer: int, vector: ArrayLike, scale: float = 1.0) -> Intervention:
        """Add ``scale`` · ``vector`` [hidden] to the residual after a layer, at every position, in a ``with`` block.

        It acts on what ``ablate`` acts on. Raises ProgrammingError for a layer that is not there, or a vector of
        another length or with numbers that are not finite.
        """
        from larqldb.dbapi import interventions

        return interventions.steer(self._open_session(), layer, vector, scale)

    def patch(
        self,
        source_prompt: Prompt,
        target_prompt: Prompt,
        layers: Layers,
        positions: int | Sequence[int] = -1,
        what: str = "residual",
        *,
        source_positions: int | Sequence[int] | None = None,
        features: Iterable[int] | None = None,
        heads: Iterable[int] | None = None,
    ) -> Patched:
        """Run the target with some of its results replaced by the source's: activation patching.

        ``what`` is residual, attention, ffn, activations (all ``features`` or some) or heads (all ``heads`` or some),
        as ``capture`` names them. ``positions`` are the target's, and the source's too unless ``source_positions``
        gives as many others; negative ones count from each prompt's end. Nothing later is changed.

        Meng et al., Locating and Editing Factual Associations in GPT, https://arxiv.org/abs/2202.05262
        """
        from larqldb.dbapi import interventions

        return interventions.patch(
            self._open_session(), source_prompt, target_prompt, layers, positions, what,
            source_positions=source_positions, features=features, heads=heads,
        )  # fmt: skip

    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int = 256,
        temperature: float = 0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        ignore_eos: bool = False,
    ) -> Iterator[str]:
        """The text that follows a prompt, in pieces as they are made; none ends within a character.

        It ends at the model's end of text (with ``ignore_eos`` it goes on), before the first of the ``stop`` strings,
        after ``max_tokens`` tokens, or where the model's context is full. ``temperature`` 0 takes the likeliest token;
        above, one is drawn from the ``top_k`` likeliest, of these from the fewest whose probabilities reach ``top_p``;
        the same ``seed`` draws the same. Close the iterator to end early.

        Raises at once: BadPrompt for a prompt that is empty or longer than the context, ProgrammingError for a setting
        out of its range, MissingPart where the vindex does not hold the network.
        """
        from larqldb.functions.inference import generation
        from larqldb.model.sampling import Sampling

        self.database  # noqa: B018 - raises where closed
        sampling = Sampling(temperature, top_k, top_p, seed)
        made = generation(
            self.session, prompt, max_tokens=max_tokens, sampling=sampling, stop=stop, ignore_eos=ignore_eos
        )
        return iter(made)

    def commit(self) -> None:
        """Make the open transaction permanent; does nothing where there is none."""
        self._end("COMMIT")

    def rollback(self) -> None:
        """Undo the open transaction; does nothing where there is none."""
        self._end("ROLLBACK")

    def interrupt(self) -> None:
        """End the statement that another thread is running on this connection: it raises OperationalError."""
        self.database.interrupt()

    def close(self) -> None:
        """Close the file; an open transaction is rolled back. May be called again."""
        database, self._database = self._database, None
        if database is not None:
            database.close(True)

    def require_no_transaction(self) -> None:
        """Raise ProgrammingError where leaving the file would lose changes."""
        if self.in_transaction:
            raise ProgrammingError("USE would lose the open transaction; commit or roll back first")

    def switch(self, path: str) -> None:
        """Turn to another file, as USE does; ProgrammingError while a transaction is open."""
        self.require_no_transaction()
        left = self.database
        self._open(path)
        left.close(True)

    def __enter__(self) -> Connection:
        self.database  # noqa: B018 - raises where closed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self.commit()
            except BaseException:
                with suppress(errors.Error):
                    self.rollback()
                raise
        else:
            self.rollback()

    def __del__(self) -> None:
        """Free the file: functions registered on it refer back to it where Python's collector cannot see."""
        if getattr(self, "_database", None) is not None:
            self.close()

    def __repr__(self) -> str:
        state = "" if self._database is not None else ", closed"
        return f"<larqldb.Connection {self._path!r}{state}>"

    @property
    def editor(self) -> Editor:
        """What INSERT, UPDATE and DELETE on edges are done by."""
        from larqldb.edit.editor import Editor

        if self._editor is None:
            self._editor = Editor(self._open_session())
        self._editor.reports = self.reports
        return self._editor

    def _open_session(self) -> Session:
        """The model behind the connection; ProgrammingError when it is closed."""
        self.database  # noqa: B018 - raises where closed
        return self.session

    def _open(self, path: str) -> None:
        try:
            database = open_database(path, read_only=self._read_only, mapped=self._walk is None)
        except apsw.Error as problem:
            raise translate(problem, "") from None
        try:
            session = Session(database, cache_mb=self._cache_mb, walk=self._walk, precision=self._precision)
            register(database, session)
        except BaseException:
            database.close(True)
            raise
        self._database, self.session, self._path = database, session, path
        self._editor = None

    def _end(self, statement: str) -> None:
        database = self.database
        if database.in_transaction:
            try:
                database.execute(statement)
            except apsw.Error as problem:
                raise translate(problem, "", database) from None
