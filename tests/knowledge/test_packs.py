"""Reading relation packs, and what larqldb ships of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from larqldb.errors import BadFacts
from larqldb.knowledge import packs
from larqldb.knowledge.packs import Fact, Pack

HEADED = """\ufeff# relation: capital\r
# description: the capital city of a country\r
# source: an atlas, 1998\r
# licence: CC0-1.0\r
# a comment\r
# wording: The capital of {entity} is\r
# wording: {entity}: its capital is\r
# example: Norway\tOslo\r
entity\ttarget\taliases\r
Ukraine\tKyiv\tKiev | Kyjiw|\r
\r
Bolivia\tSucre\r
Bolivia\tLa Paz\t\r
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "facts.tsv"


def test_a_pack_with_headers(file: Path) -> None:
    file.write_bytes(HEADED.encode())
    assert packs.read(file) == Pack(
        relation="capital",
        description="the capital city of a country",
        source="an atlas, 1998",
        licence="CC0-1.0",
        wordings=("The capital of {entity} is", "{entity}: its capital is"),
        examples=(("Norway", "Oslo"),),
        facts=(Fact("Ukraine", "Kyiv", ("Kiev", "Kyjiw")), Fact("Bolivia", "Sucre"), Fact("Bolivia", "La Paz")),
    )


def test_a_plain_table(file: Path) -> None:
    file.write_text("Tesla\tpatents\nTesla\tpatents\tinventions\n")
    pack = packs.read(file, relation="known_for", wordings=["{entity} is known for"])
    assert (pack.relation, pack.wordings, pack.source) == ("known_for", ("{entity} is known for",), str(file))
    assert pack.facts == (Fact("Tesla", "patents", ("inventions",)),)


def test_what_the_caller_gives_stands_in_for_the_headers(file: Path) -> None:
    file.write_bytes(HEADED.encode())
    pack = packs.read(file, relation="seat", wordings=["{entity} is ruled from"])
    assert (pack.relation, pack.wordings) == ("seat", ("{entity} is ruled from",))


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        (b"# relation: r\na\tb\nonly one\n", 3, "1 cell where 2 or 3 belong"),
        (b"# relation: r\na\tb\tc\td\n", 2, "4 cells where 2 or 3 belong"),
        (b"# relation: r\n\tb\n", 2, "the entity is empty"),
        (b"# relation: r\r\na\t \r\n", 2, "the target is empty"),
        (b"# relation: r\ra\tb\r\xff\tb\r", 3, "it is not UTF-8 text"),
        ("# relation: r\na\tb\n".encode("utf-16"), 1, "it is not UTF-8 text"),
        (b"a\tb\x00\n", 1, "it holds a zero byte"),
        (b"# relation: r\n# wording: The capital is\na\tb\n", 2, "does not hold {entity}"),
        (b"# relation: r\n# relation: s\na\tb\n", 2, "a second header 'relation'"),
        (b"# relation:\na\tb\n", 1, "the header 'relation' is empty"),
        (b"# relation: r\n# example: alone\na\tb\n", 2, "1 cell where 2 or 3 belong"),
        (b"a\tb\n", None, "does not say which relation"),
        (b"# relation: r\nentity\ttarget\n", None, "there are no facts in it"),
        (b"", None, "does not say which relation"),
    ],
)
def test_bad_files(file: Path, content: bytes, line: int | None, problem: str) -> None:
    file.write_bytes(content)
    with pytest.raises(BadFacts, match=re.escape(problem)) as caught:
        packs.read(file)
    place = str(file) if line is None else f"{file}, line {line}"
    assert str(caught.value).startswith(f"{place}: ")
    assert (caught.value.path, caught.value.line) == (str(file), line)
    assert "\n" not in str(caught.value)


def test_a_wording_of_the_caller_without_its_entity(file: Path) -> None:
    file.write_text("a\tb\n")
    with pytest.raises(BadFacts, match=re.escape("'no slot' does not hold {entity}")):
        packs.read(file, relation="r", wordings=["no slot"])


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(BadFacts, match="No such file or directory"):
        packs.read(file)


cells = st.text(st.characters(exclude_characters="\0\t\r\n|", exclude_categories=("Cs",))).map(str.strip).filter(bool)
entities = cells.filter(lambda cell: not cell.startswith(("#", "\ufeff")))
rows = st.lists(st.tuples(entities, cells, st.lists(cells, unique=True)), min_size=1, unique_by=lambda row: row[:2])


@given(rows=rows, end=st.sampled_from(["\n", "\r\n", "\r"]), mark=st.sampled_from(["", "\ufeff"]))
def test_what_is_written_is_read(
    rows: list[tuple[str, str, list[str]]], end: str, mark: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("packs") / "facts.tsv"
    lines = ["# relation: r", "entity\ttarget\taliases"]
    lines += [f"{entity}\t{target}\t{'|'.join(aliases)}" for entity, target, aliases in rows]
    file.write_bytes((mark + end.join(lines)).encode())
    assert packs.read(file).facts == tuple(
        Fact(entity, target, tuple(alias for alias in aliases if alias != target)) for entity, target, aliases in rows
    )


@given(content=st.binary() | st.text("a\t\n\r#:| {}entityrelationwording").map(str.encode))
def test_whatever_is_in_it_a_file_is_read_or_refused(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("packs") / "facts.tsv"
    file.write_bytes(content)
    try:
        read = [packs.read(file, relation="r")]
    except BadFacts:
        read = []
    for pack in read:
        assert pack.facts
        assert all(fact.entity.strip() == fact.entity != "" for fact in pack.facts)
        assert all("{entity}" in wording for wording in pack.wordings)


BUILTIN = packs.builtin()
DATA = Path(packs.__file__).parent.parent / "data"


@pytest.fixture(params=BUILTIN, ids=[pack.relation for pack in BUILTIN])
def pack(request: pytest.FixtureRequest) -> Pack:
    assert isinstance(request.param, Pack)
    return request.param


def test_a_built_in_pack_says_where_it_is_from(pack: Pack) -> None:
    assert pack.description
    assert re.search(r"\d+\.\d+", pack.source), "the release it is built from"
    assert pack.licence


def test_wordings_of_a_built_in_pack(pack: Pack) -> None:
    assert len(set(pack.wordings)) >= 5
    for wording in pack.wordings:
        assert wording.count("{entity}") == 1
        assert not wording.endswith(("{entity}", " "))


def test_examples_of_a_built_in_pack_are_facts_of_it(pack: Pack) -> None:
    assert 2 <= len(pack.examples) <= 4
    assert set(pack.examples) <= {(fact.entity, fact.target) for fact in pack.facts}
    assert len({entity for entity, _ in pack.examples}) == len(pack.examples)


def test_facts_of_a_built_in_pack_are_clean(pack: Pack) -> None:
    pairs = [(fact.entity.casefold(), fact.target.casefold()) for fact in pack.facts]
    if pack.relation != "element_name":  # CO and Co are two things there
        assert len(set(pairs)) == len(pairs)
    for fact in pack.facts:
        for name in (fact.entity, fact.target, *fact.aliases):
            assert name == " ".join(name.split())
            assert not name.endswith((",", ";", ":", "(", ")"))
            assert "(" not in name
        assert fact.target not in fact.aliases
        assert len(set(fact.aliases)) == len(fact.aliases)


def test_built_in_packs_are_sorted_and_their_files_named_after_them() -> None:
    names = [pack.relation for pack in BUILTIN]
    assert names == sorted(set(names))
    assert sorted(file.stem for file in DATA.glob("*.tsv")) == names


def test_the_built_in_packs_are_many_and_small() -> None:
    assert len(BUILTIN) >= 16
    assert sum(len(pack.facts) for pack in BUILTIN) >= 4000
    assert sum(file.stat().st_size for file in DATA.iterdir()) < 400_000


def test_licences_that_ask_for_their_text_have_it_beside_the_packs(pack: Pack) -> None:
    texts = (DATA / "LICENSES.md").read_text(encoding="utf-8")
    packages = re.findall(r"(?:^|; |through )([\w-]+) \d", pack.source)
    assert packages
    for package in packages:
        assert package.casefold() in texts.casefold()


@pytest.mark.parametrize(
    ("relation", "entity", "target"),
    [
        ("capital", "Japan", "Tokyo"),
        ("capital_of", "Oslo", "Norway"),
        ("borders", "Portugal", "Spain"),
        ("language", "Brazil", "Portuguese"),
        ("currency", "Thailand", "baht"),
        ("element_symbol", "gold", "Au"),
        ("atomic_number", "helium", "2"),
        ("state_capital", "Texas", "Austin"),
        ("us_city_state", "Seattle", "Washington"),
        ("occupation", "Charles Darwin", "naturalist"),
        ("hypernym", "hammer", "tool"),
        ("animal_class", "bat", "mammal"),
        ("antonym", "hot", "cold"),
        ("plural", "goose", "geese"),
        ("past_tense", "go", "went"),
        ("comparative", "good", "better"),
        ("next", "Sunday", "Monday"),
        ("french_name", "Germany", "Allemagne"),
    ],
)
def test_well_known_facts(relation: str, entity: str, target: str) -> None:
    (pack,) = (pack for pack in BUILTIN if pack.relation == relation)
    assert target in {fact.target for fact in pack.facts if fact.entity == entity}
