"""Facts to measure edits on: a user's own, counterfactual ones made from relation packs, and ones of invented names."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import NoReturn

from larqldb.errors import BadFacts
from larqldb.knowledge import packs
from larqldb.knowledge.answers import key

RELATIONS = ("capital", "language", "currency", "continent", "occupation", "nationality", "city_country")
OF_PEOPLE = ("occupation", "nationality")
NEW = 4  # every so manieth fact is of an invented entity
STARTS = (
    "Vel",
    "Tor",
    "Zan",
    "Mir",
    "Kes",
    "Oru",
    "Bal",
    "Dra",
    "Fen",
    "Gal",
    "Hes",
    "Ilu",
    "Jor",
    "Lun",
    "Nal",
    "Pra",
)
MIDDLES = ("mo", "va", "ri", "da", "lu", "ken", "tha", "so", "ne", "gra")
ENDS = ("ria", "stan", "dor", "via", "nia", "land", "mar", "this", "len", "que")
FIRST_NAMES = ("Anna", "David", "Elena", "Robert", "Maria", "Thomas", "Julia", "Peter", "Sofia", "Martin")
COLUMNS = ("entity", "relation", "target")


@dataclass(frozen=True)
class Stated:
    """A fact to insert; ``kind`` is counterfactual, new (nobody bears the name) or given (a user's own)."""

    entity: str
    relation: str
    target: str
    kind: str = "given"


def read(path: str | Path) -> list[Stated]:
    """The facts in a TSV file: entity, relation, target; a row of these names and lines after # are passed over.

    Raises BadFacts, naming the line, where the file cannot be read or a line is something else.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        what = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        _fail(path, None, what or "it cannot be read", "Check the path")
    found: dict[tuple[str, str], Stated] = {}
    for number, line in enumerate(lines, 1):
        cells = tuple(cell.strip() for cell in line.split("\t"))
        if not line.strip() or line.startswith("#") or tuple(map(str.lower, cells)) == COLUMNS:
            continue
        if len(cells) != len(COLUMNS) or not all(cells):
            _fail(path, number, f"{line!r} is no fact", "Write entity, relation, target, tabs between")
        entity, relation, target = cells
        if found.setdefault((entity, relation), Stated(entity, relation, target)).target != target:
            _fail(path, number, f"a second {relation} of {entity}", "Edits of one question are not measured together")
    if not found:
        _fail(path, None, "there are no facts in it", "Write one a line: entity, relation, target, tabs between")
    return list(found.values())


def builtin(count: int, seed: int) -> list[Stated]:
    """``count`` facts that models do not know, three of four about entities that they may know, the same every time.

    Targets are drawn from what the packs say of other entities.
    """
    by_name = {pack.relation: pack for pack in packs.builtin()}
    each = [_of(by_name[relation], seed) for relation in RELATIONS]
    return list(islice((next(facts) for facts in cycle(each)), count))


def _of(pack: packs.Pack, seed: int) -> Iterator[Stated]:
    """Facts of one relation without end; once its entities are used up, all are of invented ones."""
    rng = random.Random(f"{seed} {pack.relation}")
    right: dict[str, set[str]] = {}
    for fact in pack.facts:
        right.setdefault(fact.entity, set()).update(map(key, (fact.target, *fact.aliases)))
    targets = list(dict.fromkeys(fact.target for fact in pack.facts))
    known = sorted(right)
    rng.shuffle(known)
    taken = set(map(key, known))
    place = rng.randrange(NEW)  # so that the invented ones of several relations do not come together
    for number in range(1 << 30):
        if number % NEW == place or not known:
            entity, kind = _invented(rng, pack.relation in OF_PEOPLE, taken), "new"
        else:
            entity, kind = known.pop(), "counterfactual"
        wrong = [
            target for target in targets if key(target) not in right.get(entity, ()) and key(target) != key(entity)
        ]
        yield Stated(entity, pack.relation, rng.choice(wrong), kind)


def _invented(rng: random.Random, is_person: bool, taken: set[str]) -> str:
    """A name that nobody bears, new each time."""
    while True:
        name = rng.choice(STARTS) + rng.choice(MIDDLES) + rng.choice(ENDS)
        name = f"{rng.choice(FIRST_NAMES)} {name}" if is_person else name
        if key(name) not in taken:
            taken.add(key(name))
            return name


def relations(facts: Sequence[Stated]) -> list[str]:
    """The relations that facts are of, in order."""
    return list(dict.fromkeys(fact.relation for fact in facts))


def _fail(path: str | Path, line: int | None, problem: str, remedy: str) -> NoReturn:
    place = str(path) if line is None else f"{path}, line {line}"
    raise BadFacts(place=place, path=str(path), line=line, problem=problem, remedy=remedy)
