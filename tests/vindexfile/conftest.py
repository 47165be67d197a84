"""The plain way of composing that the tests of edits use: what it makes is the same every time."""

from tests.edit.conftest import plain_methods

__all__ = ["plain_methods"]
