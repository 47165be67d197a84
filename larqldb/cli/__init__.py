"""The command line: renders rows, nothing else. Whatever it shows can be asked for through ``larqldb.connect``."""

from larqldb.cli.app import main

__all__ = ["main"]
