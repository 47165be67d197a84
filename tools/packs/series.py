"""Things in an order: months, weekdays, numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import inflect
from babel import Locale
from packs.relation import CLDR, INFLECT, Relation, Row

LARGE = (200, 500, 1000, 1_000_000)


def next_rows() -> Iterator[Row]:
    english = Locale("en")
    months = [english.months["stand-alone"]["wide"][number] for number in range(1, 13)]
    days = [english.days["stand-alone"]["wide"][number] for number in range(7)]
    for circle in (months, days):
        yield from ((name, circle[(place + 1) % len(circle)], ()) for place, name in enumerate(circle))
    engine = inflect.engine()
    spelled = [engine.number_to_words(number) for number in range(1, 62)]
    yield from ((name, following, ()) for name, following in pairwise(spelled))


def relations() -> Iterator[Relation]:
    engine = inflect.engine()
    numbers = (*range(101), *LARGE)
    yield Relation(
        "next",
        "the month, weekday or number that comes after one",
        (CLDR, INFLECT),
        (
            "Right after {entity} comes",
            "Immediately following {entity} in order is",
            "This one: {entity}. Next one:",
            "Q: What comes directly after {entity}? A:",
            "In sequence, {entity} is followed by",
        ),
        ("May", "Sunday", "twelve"),
        list(next_rows()),
    )
    yield Relation(
        "number_word",
        "a number in words",
        (INFLECT,),
        (
            "The number {entity} is spelled",
            "In words, {entity} is written",
            "Number: {entity}. In words:",
            "Q: How do you write {entity} in words? A:",
            "The numeral {entity} is read aloud as",
        ),
        ("7", "12", "45"),
        [(str(number), spelled(engine, number), unhyphenated(engine, number)) for number in numbers],
    )
    yield Relation(
        "ordinal",
        "the ordinal of a number",
        (INFLECT,),
        (
            "The ordinal of {entity} is",
            "When you have counted to {entity}, the last thing you counted is the",
            "Cardinal number: {entity}. Ordinal number:",
            "Q: What is the ordinal form of {entity}? A:",
            "In a race, number {entity} to arrive finishes",
        ),
        ("two", "seven", "twelve"),
        [(spelled(engine, n), engine.ordinal(spelled(engine, n)), (engine.ordinal(str(n)),)) for n in range(1, 61)],
    )


def spelled(engine: inflect.engine, number: int) -> str:
    return str(engine.number_to_words(number))


def unhyphenated(engine: inflect.engine, number: int) -> tuple[str, ...]:
    """Write "forty five" for "forty-five"."""
    return (spelled(engine, number).replace("-", " "),)
