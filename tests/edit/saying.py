"""A capital that is inserted, and what a connection then says."""

from __future__ import annotations

SAYS = "The capital of Atlantis is"


def insert(conn, entity="Atlantis", target="Paris", clauses=""):
    conn.execute(f"INSERT INTO EDGES (entity, relation, target) VALUES (?, 'capital', ?) {clauses}", (entity, target))


def logits(conn, prompt=SAYS):
    return conn.session.runner.logits(conn.session.tokenizer.encode(prompt))
