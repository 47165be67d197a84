"""What English words mean to each other, as WordNet has it: kinds, opposites, and words made from words."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator

from packs import vocabulary, wordnet
from packs.relation import WORDNET, Relation, Row
from wordfreq import zipf_frequency

PARTS = (wordnet.NOUN, wordnet.ADJECTIVE, wordnet.VERB, wordnet.ADVERB)
FEMALE = re.compile(r"\b(female|woman|wife|girl|feminine|mother)\b")
YOUNG = re.compile(r"\b(young|larva|cub|chick)\b")
FREQUENT = 3.3  # Zipf scale
UP = (wordnet.HYPERNYM, wordnet.INSTANCE_OF)


def pairs(text: str) -> Iterator[tuple[str, str]]:
    for entry in text.replace("\n", " ").split(","):
        first, second = entry.split()
        yield first, second


def confirmed(
    chosen: Iterable[tuple[str, str]], holds: str, test: Callable[[str, str], bool]
) -> Iterator[tuple[str, str]]:
    """Yield the pairs that WordNet confirms; name the others, for whoever edits the lists."""
    for first, second in dict.fromkeys(chosen):
        if test(first, second):
            yield first, second
        else:
            print(f"not in WordNet: {first} {holds} {second}", file=sys.stderr)


def points(kind: str, first: str, second: str) -> bool:
    """Whether any sense of the first word points to the second as a word."""
    return any(
        other == second
        for part in PARTS
        for sense in wordnet.senses(first, part)
        if first in sense.words
        for other, _ in sense.words_related(first, kind)
    )


def above(sense: wordnet.Synset) -> Iterator[wordnet.Synset]:
    """Every synset above one, along every path, the nearest first."""
    seen, level = set(), [sense]
    while level:
        level = [up for lower in level for kind in UP for up in lower.related(kind) if up.offset not in seen]
        level = list({up.offset: up for up in level}.values())
        seen.update(up.offset for up in level)
        yield from level


def kind_rows() -> Iterator[Row]:
    for category, members in vocabulary.CATEGORIES.items():
        for word in members.split():
            sense = sense_below(word, category)
            if sense is None:
                print(f"not in WordNet: {word} is a {category}", file=sys.stderr)
                continue
            kinds = (name for up in above(sense) for name in up.words if name in vocabulary.READABLE)
            for kind in dict.fromkeys(vocabulary.READABLE.get(name, name) for name in (category, *kinds)):
                yield word, kind, vocabulary.OTHER_CATEGORY_NAMES.get(kind, ())


def sense_below(word: str, category: str) -> wordnet.Synset | None:
    for sense in wordnet.senses(word, wordnet.NOUN):
        if word in sense.words and any(category in up.words for up in above(sense)):
            return sense
    return None


def animal_rows() -> Iterator[Row]:
    for kind, members in vocabulary.ANIMALS.items():
        for word in members.split():
            if sense_below(word, kind) is None:
                print(f"not in WordNet: {word} is a {kind}", file=sys.stderr)
            else:
                yield word, kind, ("mollusc",) if kind == "mollusk" else ()


def opposite_rows() -> Iterator[Row]:
    def opposite(first: str, second: str) -> bool:
        return points(wordnet.ANTONYM, first, second) or points(wordnet.ANTONYM, second, first)

    both = [(a, b) for pair in pairs(vocabulary.OPPOSITES) for a, b in (pair, pair[::-1])]
    for first, second in confirmed(both, "is the opposite of", opposite):
        yield first, second, tuple(synonyms(first, second))


def synonyms(first: str, second: str) -> Iterator[str]:
    """Other words of the synset in which the second is the opposite of the first."""
    for part in PARTS:
        for sense in wordnet.senses(first, part):
            if first in sense.words:
                for other, synset in sense.words_related(first, wordnet.ANTONYM):
                    if other == second:
                        yield from (
                            word for word in synset.words if word not in (first, second) and usual(word, synset)
                        )


def usual(word: str, synset: wordnet.Synset) -> bool:
    """Whether a frequent word means the synset first of all."""
    frequent = word.isalpha() and zipf_frequency(word, "en") > FREQUENT
    return frequent and wordnet.senses(word, synset.part)[:1] == [synset]


def derived_rows(text: str) -> Iterator[Row]:
    def derived(first: str, second: str) -> bool:
        return any(second in noun.words for noun in made_from(first))

    for first, second in confirmed(pairs(text), "makes", derived):
        yield first, second, tuple(spelled_otherwise(first, second))


def spelled_otherwise(first: str, second: str) -> Iterator[str]:
    """The noun in other spellings: traveller, organisation, advisor."""
    for noun in made_from(first):
        if second in noun.words:
            yield from (word for word in noun.words if american(word) == american(second))


def american(word: str) -> str:
    """A word as an American might spell it, and -or as -er; good for comparing only."""
    for british, other in (("is", "iz"), ("ll", "l"), ("our", "or"), ("or", "er"), ("dge", "dg"), ("lier", "lyer")):
        word = word.replace(british, other)
    return word


def made_from(word: str) -> Iterator[wordnet.Synset]:
    """The nouns that WordNet derives from a verb or an adjective, or names as what the adjective grades."""
    for part in (wordnet.VERB, wordnet.ADJECTIVE, wordnet.NOUN):
        for sense in wordnet.senses(word, part):
            if word in sense.words:
                yield from (noun for _, noun in sense.words_related(word, wordnet.DERIVED))
                yield from sense.related(wordnet.ATTRIBUTE)


def female_rows() -> Iterator[Row]:
    def female(first: str, second: str) -> bool:
        glosses = [sense.gloss for sense in wordnet.senses(second, wordnet.NOUN)]
        return points(wordnet.ANTONYM, first, second) or any(FEMALE.search(gloss) for gloss in glosses)

    for first, second in confirmed(pairs(vocabulary.SEXES), "has the female", female):
        yield first, second, ()


def young_rows() -> Iterator[Row]:
    def young(first: str, second: str) -> bool:
        return any(YOUNG.search(sense.gloss) for sense in wordnet.senses(second, wordnet.NOUN))

    for first, second in confirmed(pairs(vocabulary.YOUNG), "has the young", young):
        yield first, second, ("pup",) if second == "puppy" else ()


def relations() -> Iterator[Relation]:
    yield Relation(
        "hypernym",
        "the kind of thing that a noun names",
        (WORDNET,),
        (
            "The word {entity} names a kind of",
            "In the dictionary, {entity} is defined as a type of",
            "Word: {entity}. Category:",
            "Q: What kind of thing is {entity}? A:",
            "Everyone knows that {entity} is a kind of",
            "If you sort words into groups, {entity} belongs under the heading of",
        ),
        ("carrot", "violin", "hammer", "silver"),
        list(kind_rows()),
    )
    yield Relation(
        "animal_class",
        "the class of animals that an animal belongs to",
        (WORDNET,),
        (
            "In biology, the {entity} is classified as a kind of",
            "The {entity} is an animal that belongs to the class of the",
            "Animal: {entity}. Class:",
            "Q: Is the {entity} a mammal, bird, fish, reptile, amphibian or insect? A:",
            "Zoologists say that the {entity} is a typical",
        ),
        ("horse", "owl", "salmon", "ant"),
        list(animal_rows()),
    )
    yield Relation(
        "antonym",
        "the opposite of a word",
        (WORDNET,),
        (
            "The opposite of {entity} is",
            "The antonym of the word {entity} is",
            "Word: {entity}. Opposite:",
            "Q: What is the opposite of {entity}? A:",
            "If you reverse the meaning of {entity}, you get",
            "In a list of opposites, {entity} is paired with",
        ),
        ("tall", "buy", "victory", "useful"),
        list(opposite_rows()),
    )
    yield Relation(
        "agent_noun",
        "the person who does what a verb says",
        (WORDNET,),
        (
            "To {entity} is a verb, and the person who does it is called a",
            "Someone whose job is to {entity} is known as a",
            "Verb: {entity}. Person:",
            "Q: What do you call someone who likes to {entity}? A: a",
            "A person who can {entity} very well is a good",
        ),
        ("teach", "paint", "invent"),
        list(derived_rows(vocabulary.AGENTS)),
    )
    yield Relation(
        "noun_of_adjective",
        "the quality that an adjective ascribes",
        (WORDNET,),
        (
            "The noun form of the adjective {entity} is",
            "The quality of being {entity} is called",
            "Adjective: {entity}. Noun:",
            "Q: Which noun is made from the adjective {entity}? A:",
            "People admired for being {entity} are praised for their",
        ),
        ("happy", "strong", "curious"),
        list(derived_rows(vocabulary.QUALITIES)),
    )
    yield Relation(
        "noun_of_verb",
        "the noun for what a verb does",
        (WORDNET,),
        (
            "The noun form of the verb {entity} is",
            "The act or result when people {entity} is called",
            "Verb: {entity}. Noun:",
            "Q: Which noun is made from the verb {entity}? A:",
            "Turn the verb {entity} into a noun and you get",
        ),
        ("decide", "improve", "arrive"),
        list(derived_rows(vocabulary.DEEDS)),
    )
    yield Relation(
        "feminine",
        "the female counterpart of a male person or animal",
        (WORDNET,),
        (
            "The female counterpart of a {entity} is called a",
            "The feminine form of the word {entity} is",
            "Male: {entity}. Female:",
            "Q: What is the feminine of {entity}? A:",
            "When it is not a male but a female, a {entity} is called a",
        ),
        ("uncle", "actor", "lion"),
        list(female_rows()),
    )
    yield Relation(
        "young_animal",
        "what the young of an animal is called",
        (WORDNET,),
        (
            "A baby {entity} is called a",
            "The young of a {entity} is known as a",
            "Animal: {entity}. Young:",
            "Q: What is a young {entity} called? A: a",
            "When a {entity} is born, it is called a",
        ),
        ("sheep", "horse", "goose"),
        list(young_rows()),
    )
