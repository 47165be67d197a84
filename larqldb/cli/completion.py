"""What Tab offers in the REPL: the language's words, the file's names, the commands of the shell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

import apsw
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from larqldb.errors import Error
from larqldb.lql import statements
from larqldb.lql.verbs import SQL_VERBS

COMMANDS = ("\\help", "\\q", "\\sql", "\\timing", "\\use")
SQL_WORDS = (
    *("AND", "AS", "ASC", "BETWEEN", "BY", "CASE", "COUNT", "CROSS", "DESC", "DISTINCT", "ELSE", "END", "EXCEPT"),
    *("EXISTS", "FROM", "GROUP", "HAVING", "IN", "INNER", "INTO", "IS", "JOIN", "LEFT", "LIKE", "LIMIT", "NEAREST TO"),
    *("NOT", "NULL", "OFFSET", "ON", "OR", "ORDER", "OVER", "RETURNING", "SET", "THEN", "UNION", "USING", "VALUES"),
    *("WHEN", "WHERE"),
)
_WORD = re.compile(r"[\w]*\Z")
_NAMES = """
SELECT name, 'table' FROM pragma_table_list WHERE schema <> 'temp' AND name NOT LIKE 'sqlite_%'
UNION SELECT c.name, 'column' FROM pragma_table_list AS t JOIN pragma_table_xinfo(t.name) AS c
  WHERE t.name NOT LIKE 'sqlite_%'
UNION SELECT name, 'function' FROM pragma_module_list WHERE name NOT LIKE 'pragma_%' AND name NOT LIKE 'sqlite_%'
UNION SELECT name, 'function' FROM pragma_function_list WHERE name NOT LIKE 'sqlite_%' AND name GLOB '[a-z]*'
"""


class LQLCompleter(Completer):
    """Completes verbs, clauses and their options by the grammar's table, names by what the open file holds."""

    def __init__(self, database: Callable[[], apsw.Connection]) -> None:
        self._database = database
        self._known: tuple[object, list[tuple[str, str]]] = (None, [])
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What may follow the text before the cursor."""
        before = document.text_before_cursor
        if before.lstrip().startswith("\\use "):
            path = before.split(maxsplit=1)[1] if len(before.split()) > 1 else ""
            return self._paths.get_completions(Document(path, len(path)), complete_event)
        if before.startswith("\\"):
            return self._matching([(command, "command") for command in COMMANDS], before)
        found = _WORD.search(before)
        return self._matching(self._offers(before), found.group() if found else "")

    def _offers(self, before: str) -> Iterator[tuple[str, str]]:
        """(word or words, kind) for the statement that the cursor is in, most specific first."""
        statement = re.split(r";|\|>", before)[-1].lstrip()
        words = [word.upper() for word in re.findall(r"\w+", statement)]
        typed = words[:-1] if _WORD.search(before).group() else words  # type: ignore[union-attr]
        if not typed:
            yield from ((verb, "statement") for verb in sorted({form.verb[0] for form in statements()} | SQL_VERBS))
            return
        forms = [form for form in statements() if _begins(form.verb, typed)]
        for form in forms:
            if len(form.verb) > len(typed):
                yield form.verb[len(typed)], "statement"
                continue
            for clause in form.clauses:
                if clause.words and not _holds(typed, clause.words):
                    yield " ".join(clause.words), "clause"
                elif clause.words and tuple(typed[-len(clause.words) :]) == clause.words:
                    yield from ((option, "option") for option in clause.options)
            yield from ((word, "clause") for word in form.head if isinstance(word, str) and word not in typed)
        if typed[0] in SQL_VERBS or "WHERE" in typed:
            yield from self._names()
            yield from ((word, "SQL") for word in SQL_WORDS)

    def _names(self) -> list[tuple[str, str]]:
        """Names of tables, columns and functions; read again when the schema or the file has changed."""
        database = self._database()
        try:
            version = (id(database), database.pragma("schema_version"))
            if self._known[0] != version:
                self._known = (version, [(name, kind) for name, kind in database.execute(_NAMES)])
        except (apsw.Error, Error):  # completion is a courtesy: a busy file offers no names
            return []
        return self._known[1]

    @staticmethod
    def _matching(offers: Iterable[tuple[str, str]], word: str) -> Iterator[Completion]:
        seen = set()
        for text, kind in offers:
            if text.lower().startswith(word.lower()) and text.lower() != word.lower() and text not in seen:
                seen.add(text)
                yield Completion(text, start_position=-len(word), display_meta=kind)


def _begins(verb: tuple[str, ...], typed: list[str]) -> bool:
    shared = min(len(verb), len(typed))
    return verb[:shared] == tuple(typed[:shared])


def _holds(typed: list[str], words: tuple[str, ...]) -> bool:
    return any(tuple(typed[start : start + len(words)]) == words for start in range(len(typed)))
