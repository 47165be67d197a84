"""Names of countries, languages, months and weekdays in other languages, from CLDR."""

from __future__ import annotations

from collections.abc import Iterator

from babel import Locale
from packs import countries
from packs.relation import CLDR, Relation, Row, spellings

MOST_POPULOUS = 75
LANGUAGES = "en fr de es it pt nl ru zh ja ar pl sv da el tr he ko"
INTO = {"French": "fr", "Spanish": "es", "German": "de", "Italian": "it"}
MORE_COUNTRIES = ("NL", "BE", "GR", "PT", "SE", "AT", "CH", "DK", "FI", "NO", "IE", "HU", "CZ", "HR", "IS", "CY")


def rows(code: str) -> Iterator[Row]:
    english, other = Locale("en"), Locale(code)
    isos = dict.fromkeys((*list(countries.countries())[:MOST_POPULOUS], *MORE_COUNTRIES))
    names = [
        (countries.name(iso), other.territories[iso])
        for iso in isos
        if code == "fr" or other.territories[iso] not in countries.names(iso)  # CLDR keeps to French for some
    ]
    names += [(english.languages[language], other.languages[language]) for language in LANGUAGES.split()]
    for kind in ("months", "days"):
        ours, theirs = (getattr(locale, kind)["stand-alone"]["wide"] for locale in (english, other))
        names += [(ours[number], theirs[number]) for number in sorted(ours)]
    for name, translated in names:
        if not same(name, translated) and "(" not in translated and "-Kinshasa" not in translated:
            yield name, translated, spellings(translated)


def same(name: str, translated: str) -> bool:
    """Whether names differ in accents and spaces at most; there is nothing to know then."""
    return any(
        name.casefold() == written.replace(" ", "").casefold() for written in (translated, *spellings(translated))
    )


def relations() -> Iterator[Relation]:
    for language, code in INTO.items():
        yield Relation(
            f"{language.lower()}_name",
            f"the {language} name of a country, language, month or weekday",
            (CLDR,),
            (
                f"The {language} word for {{entity}} is",
                f"In {language}, {{entity}} is called",
                f"English: {{entity}}. {language}:",
                f"Q: What is {{entity}} in {language}? A:",
                f"Translated into {language}, the name {{entity}} becomes",
            ),
            ("Turkey", "Monday", "July"),
            list(rows(code)),
        )
