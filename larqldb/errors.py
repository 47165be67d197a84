"""Every exception larqldb raises, as one tree under the classes of PEP 249.

    Exception
    ├── Warning
    └── Error                              sqlite_errorcode, sqlite_errorname where SQLite reported it
        ├── InterfaceError                 the API was used wrongly (a closed cursor, a bad parameter type)
        └── DatabaseError
            ├── DataError
            │   ├── BadModelFile           a model file that cannot be read
            │   ├── BadTensor              a tensor whose numbers cannot be used
            │   ├── NotANumber             an answer that is not a number: a damaged weight, or one too large
            │   ├── BadPrompt              a prompt the model cannot read
            │   ├── BadFacts               a file of facts that cannot be read
            │   └── BadPatch               a patch file that cannot be read, or made for another model
            ├── OperationalError
            │   ├── SourceNotFound         no model where the source says
            │   │   └── PatchNotFound      no patch file there
            │   ├── OutputExists           the path to write to is taken
            │   ├── OutputFailed           writing failed: disk full, no permission
            │   │   └── NoFolder           there is no folder to write to
            │   ├── OutputBusy             another process is writing the same output
            │   ├── BuildFailed            a statement of a Vindexfile that could not be carried out
            │   ├── HubFailed              the hub has it not, refuses, or cannot be reached
            │   ├── NotAVindex             the file is something else
            │   ├── NewerVindex            the file was written by a newer larqldb
            │   ├── OutdatedVindex         the file needs a migration and may not be written
            │   ├── DamagedVindex          the file is cut short or its checksums do not match
            │   └── MissingPart            the vindex was extracted without what a statement needs
            ├── IntegrityError
            │   └── TooMuchChanged         an edit that changes other answers by more than it may
            ├── InternalError
            ├── ProgrammingError
            │   ├── LQLSyntaxError         line, column, hint
            │   └── BadVindexfile          a line that says nothing to build: path, line, column, hint
            └── NotSupportedError
                ├── NotAQuery              a command of LQL, where a query is needed
                ├── CannotCompile          an edit or a model that the files asked for cannot hold
                └── UnsupportedModel       an architecture, config key or tensor type that is not implemented

A class with a ``template`` builds its message from named facts: ``raise NotAVindex(path=p, what="a text file")``.
The facts stay on the exception as attributes.
"""

from __future__ import annotations

from typing import Any, ClassVar


class Warning(Exception):  # noqa: A001 - the name is PEP 249's
    """Important warnings, such as data truncation (PEP 249)."""


class Error(Exception):
    """Base of every error larqldb raises (PEP 249).

    ``sqlite_errorcode`` (extended result code) and ``sqlite_errorname`` are set when SQLite reported the error, as in
    the standard library's ``sqlite3``; otherwise they are None.
    """

    template: ClassVar[str] = ""
    sqlite_errorcode: int | None = None
    sqlite_errorname: str | None = None

    def __init__(self, *args: object, **facts: Any) -> None:
        self.__dict__.update(facts)
        super().__init__(*((self.template.format(**facts),) if facts else args))


class InterfaceError(Error):
    """The interface was used wrongly, rather than the database (PEP 249)."""


class DatabaseError(Error):
    """Errors of the database (PEP 249)."""


class DataError(DatabaseError):
    """The data cannot be processed: out of range, of the wrong kind (PEP 249)."""


class BadModelFile(DataError):
    """A model file that cannot be read; facts: path, problem, remedy."""

    template = "{path}: {problem}. {remedy}"


class BadTensor(DataError):
    """A tensor whose numbers cannot be used; facts: tensor, problem, remedy."""

    template = "tensor {tensor}: {problem}. {remedy}"


class NotANumber(DataError):
    """The network's answer is NaN or infinite."""

    def __init__(self) -> None:
        super().__init__(
            "the model's answer is not a number: a weight is damaged, or too large for float32. "
            "larqldb verify FILE names a damaged tensor by its checksum"
        )


class BadPrompt(DataError):
    """A prompt the model cannot read: empty, too long, not its tokens; facts: problem, remedy."""

    template = "{problem}. {remedy}"


class BadFacts(DataError):
    """A file of facts that cannot be read; facts: place, path, line (from 1; None: the whole file), problem, remedy."""

    template = "{place}: {problem}. {remedy}"


class BadPatch(DataError):
    """A patch file that cannot be used; facts: path, problem, remedy."""

    template = "{path}: {problem}. {remedy}"


class OperationalError(DatabaseError):
    """The database's operation failed, not necessarily by the programmer's fault (PEP 249)."""


class SourceNotFound(OperationalError):
    """There is no model where the source says; facts: source, remedy."""

    template = "no model at {source}. {remedy}"


class PatchNotFound(SourceNotFound):
    """There is no patch file of that name; facts: source, remedy."""

    template = "no patch file at {source}. {remedy}"


class OutputExists(OperationalError):
    """The path to write to is taken; facts: path."""

    template = "{path} exists already. Choose another name, or remove it first"


class OutputFailed(OperationalError):
    """Writing an output failed and nothing is left under its name; facts: path, problem."""

    template = "could not write {path}: {problem}. Nothing was left behind; make room or choose another place"


class NoFolder(OutputFailed):
    """There is no folder to write an output to; facts: path, folder."""

    template = "could not write {path}: there is no folder {folder}. Make it first, or choose another place"


class OutputBusy(OperationalError):
    """Another process is writing the same output; facts: path."""

    template = "another process is writing {path} right now. Wait for it, or choose another name"


class BuildFailed(OperationalError):
    """A statement of a Vindexfile could not be carried out; facts: path, line, statement, problem."""

    template = "{path}, line {line}: {statement}\n  {problem}"


class HubFailed(OperationalError):
    """A repository of the hub cannot be read or written; facts: what, problem, remedy."""

    template = "{what}: {problem}. {remedy}"


class NotAVindex(OperationalError):
    """The file is not a vindex; facts: path, what."""

    template = "{path} is {what}, not a vindex. Make one with: larqldb extract SOURCE -o NAME.vindex"


class NewerVindex(OperationalError):
    """The file was written by a newer larqldb; facts: path, version, known."""

    template = "{path} has schema version {version}; this larqldb knows up to {known}. Upgrade larqldb to open it"


class OutdatedVindex(OperationalError):
    """The file's schema is older and it may not be written; facts: path, version, known."""

    template = (
        "{path} has schema version {version}, older than {known}, and is read-only. "
        "Open a copy that can be written once: that brings it up to date"
    )


class DamagedVindex(OperationalError):
    """The file is cut short or its contents do not match their checksums; facts: path, problem."""

    template = "{path} is damaged: {problem}. Extract it again or restore a copy"


class MissingPart(OperationalError):
    """The vindex lacks what a statement needs; facts: statement, part, remedy."""

    template = "{statement} needs {part}, which this vindex does not hold. {remedy}"


class IntegrityError(DatabaseError):
    """A constraint of the database would be violated (PEP 249)."""


class TooMuchChanged(IntegrityError):
    """An edit was taken back because another answer changed too much; facts: prompt, change, limit."""

    template = (
        "after {prompt!r} the probability of the answer changes by {change:.3g}, more than REGRESSION {limit:g}. "
        "Nothing was changed; allow more, or try another layer or a smaller ALPHA"
    )


class InternalError(DatabaseError):
    """The database reached a state it should not be in (PEP 249)."""


class ProgrammingError(DatabaseError):
    """A mistake in the statement or its parameters (PEP 249)."""


class LQLSyntaxError(ProgrammingError):
    """A statement that is not LQL: says where (1-based line and column) and what was expected.

    Attributes: ``problem`` (one sentence), ``line``, ``column``, ``text`` (the offending line of the statement),
    ``hint`` (a suggestion, or None).
    """

    def __init__(self, problem: str, *, line: int, column: int, text: str, hint: str | None = None) -> None:
        self.problem, self.line, self.column, self.text, self.hint = problem, line, column, text, hint
        super().__init__(f"{problem} (line {line}, column {column}){_pointed_at(text, column, hint)}")


class BadVindexfile(ProgrammingError):
    """A Vindexfile that cannot be read: attributes as of LQLSyntaxError, and ``path``."""

    def __init__(
        self, problem: str, *, path: object, line: int, column: int, text: str, hint: str | None = None
    ) -> None:
        self.problem, self.path, self.line, self.column, self.text, self.hint = problem, path, line, column, text, hint
        super().__init__(f"{path}: {problem} (line {line}, column {column}){_pointed_at(text, column, hint)}")


def _pointed_at(text: str, column: int, hint: str | None) -> str:
    """A line with a caret under a column, and a suggestion below."""
    start = max(0, column - 60)  # a long line is shown around the error only
    caret = " " * (column - 1 - start) + "^"
    tail = f"\n{hint}" if hint else ""
    return f"\n  {text[start : column + 40]}\n  {caret}{tail}"


class NotSupportedError(DatabaseError):
    """A feature that is not supported (PEP 249)."""


class NotAQuery(NotSupportedError):
    """A statement with no SELECT of its own, where one is asked for; facts: statement."""

    template = "{statement} is a command, not a query: there is no SQL for it. Run it with execute()"


class UnsupportedModel(NotSupportedError):
    """A model this larqldb cannot represent; facts: what (the config key, tensor or architecture), why, remedy."""

    template = "{what} is not supported: {why}. {remedy}"


class CannotCompile(NotSupportedError):
    """Model files cannot hold what they are asked to; facts: what, why, remedy."""

    template = "{what} cannot be compiled: {why}. {remedy}"
