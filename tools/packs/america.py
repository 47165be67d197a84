"""The states of the United States."""

from __future__ import annotations

from collections.abc import Iterator

import us
from packs.relation import US, Relation, spellings


def relations() -> Iterator[Relation]:
    states = us.states.STATES
    yield Relation(
        "state_capital",
        "the capital city of a state of the United States",
        (US,),
        (
            "The capital of the state of {entity} is",
            "{entity} is an American state whose capital is",
            "State: {entity}. Capital:",
            "Q: What is the capital of the U.S. state of {entity}? A:",
            "The state government of {entity} sits in the city of",
            "In the United States, {entity}'s capital city is",
        ),
        ("Texas", "Ohio", "Oregon"),
        [(state.name, state.capital, (*spellings(state.capital),)) for state in states],
    )
