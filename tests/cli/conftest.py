"""Running the command line inside the test's own process."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from larqldb.cli import main


class Outcome(NamedTuple):
    """What a command left: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def larqldb(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """A function that runs ``larqldb`` with the arguments given."""

    def run(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return Outcome(stop.value.code or 0, *capsys.readouterr())

    return run
