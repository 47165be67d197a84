"""larqldb: a transformer language model as one SQLite file, queried with SQL and LQL."""
