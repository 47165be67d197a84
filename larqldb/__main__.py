"""``python -m larqldb`` is the command line."""

from larqldb.cli import main

main()
