"""Forms of English words, chosen by hand: lemminflect's, plurals where inflect agrees, adverbs as WordNet has them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator

import inflect
from lemminflect import getInflection
from packs import vocabulary, wordnet
from packs.meanings import confirmed, pairs, points
from packs.relation import INFLECT, LEMMINFLECT, WORDNET, Relation, Row, words
from wordfreq import zipf_frequency

RARE = 2.0  # Zipf scale: further forms used less often are left out
ONE_OF_TWO = words("get prove")  # their participle depends on who speaks, and lemminflect has one
DOUBTFUL = words(
    "occured occuring refered refering staid flied teared grinded costed payed aircrafts deers"
    " leafs winded bended lighted"
)


def rows(chosen: Iterable[str], tag: str, keep: Callable[[str, str], bool] = lambda word, form: True) -> list[Row]:
    """Each word's form of a Penn Treebank tag, the most usual of several; the others are right too."""
    found = []
    for word in chosen:
        known = [form for form in getInflection(word, tag=tag, inflect_oov=False) if form.isalpha()]
        known = [form for form in known if form not in DOUBTFUL and (form != word or len(known) == 1 or tag == "VBD")]
        known.sort(key=lambda form: -zipf_frequency(form, "en"))
        if not known:
            print(f"no form {tag} of {word}", file=sys.stderr)
        elif keep(word, known[0]):
            others = (form for form in known[1:] if zipf_frequency(form, "en") > RARE)
            found.append((word, known[0], tuple(others)))
    return found


def plural_rows() -> list[Row]:
    engine = inflect.engine()

    def agreed(word: str, form: str) -> bool:
        if form != engine.plural_noun(word):
            print(f"no plural agreed on: {word} {form} {engine.plural_noun(word)}", file=sys.stderr)
        return form == engine.plural_noun(word)

    return rows(vocabulary.NOUNS.split(), "NNS", agreed)


def irregular(word: str, form: str) -> bool:
    return word not in ONE_OF_TWO and form not in (f"{word}ed", f"{word}d", f"{word}{word[-1]}ed", f"{word[:-1]}ied")


def adverb_rows() -> Iterator[Row]:
    def made(adjective: str, adverb: str) -> bool:
        return points(wordnet.OF_ADJECTIVE, adverb, adjective)

    return ((*pair, ()) for pair in confirmed(pairs(vocabulary.ADVERBS), "makes", made))


def relations() -> Iterator[Relation]:
    verbs, adjectives = vocabulary.VERBS.split(), vocabulary.ADJECTIVES.split()
    yield Relation(
        "plural",
        "the plural of a noun",
        (LEMMINFLECT, INFLECT, WORDNET),
        (
            "The plural of {entity} is",
            "One {entity}, two",
            "Singular: {entity}. Plural:",
            "Q: What is the plural of {entity}? A:",
            "If there is more than one {entity}, we speak of many",
        ),
        ("woman", "box", "leaf"),
        plural_rows(),
    )
    yield Relation(
        "past_tense",
        "the past tense of a verb",
        (LEMMINFLECT,),
        (
            "The past tense of {entity} is",
            "Today I {entity}. Yesterday I",
            "Verb: {entity}. Past tense:",
            "Q: What is the past tense of {entity}? A:",
            "We often {entity}, and last week we also",
        ),
        ("go", "write", "help"),
        rows(verbs, "VBD"),
    )
    yield Relation(
        "past_participle",
        "the past participle of an irregular verb",
        (LEMMINFLECT,),
        (
            "The past participle of {entity} is",
            "I want to {entity}, but others already have",
            "Verb: {entity}. Past participle:",
            "Q: What is the past participle of {entity}? A:",
            "They {entity} every day, and they have always",
        ),
        ("go", "write", "see"),
        rows(verbs, "VBN", irregular),
    )
    yield Relation(
        "present_participle",
        "the ing-form of a verb",
        (LEMMINFLECT,),
        (
            "The present participle of {entity} is",
            "I {entity} often, and right now I am",
            "Verb: {entity}. Form with -ing:",
            "Q: What is the -ing form of {entity}? A:",
            "They wanted to {entity}, so they kept on",
        ),
        ("go", "write", "run"),
        rows(verbs, "VBG"),
    )
    yield Relation(
        "comparative",
        "the comparative of an adjective",
        (LEMMINFLECT,),
        (
            "The comparative of {entity} is",
            "The first one is {entity}, but the second one is even",
            "Adjective: {entity}. Comparative:",
            "Q: What is the comparative form of {entity}? A:",
            "It was {entity} yesterday, and today it is much",
        ),
        ("big", "good", "easy"),
        rows(adjectives, "JJR"),
    )
    yield Relation(
        "superlative",
        "the superlative of an adjective",
        (LEMMINFLECT,),
        (
            "The superlative of {entity} is",
            "All of them are {entity}, but this one is the",
            "Adjective: {entity}. Superlative:",
            "Q: What is the superlative form of {entity}? A:",
            "Nobody else is so {entity}; of them all, she is the",
        ),
        ("big", "good", "easy"),
        rows(adjectives, "JJS"),
    )
    yield Relation(
        "adverb",
        "the adverb made from an adjective",
        (WORDNET,),
        (
            "The adverb formed from {entity} is",
            "The adjective is {entity}, and the adverb is",
            "Adjective: {entity}. Adverb:",
            "Q: What is the adverb form of {entity}? A:",
            "To do something in a {entity} way is to do it",
        ),
        ("quick", "happy", "careful"),
        list(adverb_rows()),
    )
