"""Chemical elements, as mendeleev has them."""

from __future__ import annotations

from collections.abc import Iterator

from mendeleev import get_all_elements
from packs.relation import MENDELEEV, Relation, Row

BRITISH = {"Aluminum": "Aluminium", "Cesium": "Caesium", "Sulfur": "Sulphur"}


def relations() -> Iterator[Relation]:
    elements = sorted(get_all_elements(), key=lambda element: element.atomic_number)
    names = {element: element.name.lower() for element in elements}
    symbols: list[Row] = [(names[element], element.symbol, ()) for element in elements]
    numbers: list[Row] = [(names[element], str(element.atomic_number), ()) for element in elements]
    by_symbol: list[Row] = [
        (element.symbol, names[element], (BRITISH[element.name].lower(),) if element.name in BRITISH else ())
        for element in elements
    ]
    yield Relation(
        "element_symbol",
        "the chemical symbol of an element",
        (MENDELEEV,),
        (
            "The chemical symbol for {entity} is",
            "In the periodic table, {entity} is written as",
            "Element: {entity}. Symbol:",
            "Q: What is the chemical symbol of {entity}? A:",
            "The element {entity} has the symbol",
            "Chemists abbreviate {entity} as",
        ),
        ("oxygen", "iron", "calcium"),
        symbols,
    )
    yield Relation(
        "element_name",
        "the element that a chemical symbol stands for",
        (MENDELEEV,),
        (
            "The chemical symbol {entity} stands for the element",
            "In the periodic table, {entity} is the symbol of",
            "Symbol: {entity}. Element:",
            "Q: Which element has the chemical symbol {entity}? A:",
            "In a chemical formula, {entity} means",
        ),
        ("O", "Fe", "Ca"),
        by_symbol,
    )
    yield Relation(
        "atomic_number",
        "the number of protons of an element",
        (MENDELEEV,),
        (
            "The atomic number of {entity} is",
            "In the periodic table, {entity} is element number",
            "Element: {entity}. Atomic number:",
            "Q: How many protons does an atom of {entity} have? A:",
            "The number of protons in the nucleus of {entity} is",
        ),
        ("oxygen", "iron", "calcium"),
        numbers,
    )
