"""Where an answer ends in the text a model goes on writing, and when two answers are the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# After these an answer is over, unless what stands there belongs to a number, an initial or an abbreviation.
ENDS = re.compile(r"[\n\r.,;:!?()\[\]{}<>|\"“”«»*…=]| [-–—/&] | - |--|。|、|，")
# Before a point: initials (D.C, J) and short titles.
SHORT = re.compile(r"(?P<dotted>\b\w\.\w)$|(?:\b\w|\b(?:St|Mt|Ft|Dr|Mr|Mrs|Ms|Jr|Sr|Bros|Co|No))$")
OPENING = ' "“«*(['  # may stand before an answer
# Words that carry a sentence on where a name has ended; "and" and "or" do when no name follows.
GOES_ON = re.compile(
    r"\s(?:which|who|whose|whom|that|where|when|while|because|but|is|are|was|were|has|have|had|can|will|would|it|its|"
    r"he|she|they|his|her|their|this|these|there|in|on|at|by|with|as|from|for|to|into|since|about|also|located|known|"
    r"called|named|then|than|not|so|if|(?:and|or)(?=\s+[^A-Z\s])|(?:and|or)\s+(?:The|It|He|She|They))\b"
)
ARTICLE = re.compile(r"^(?:the|an?)\s+")
ANY_ARTICLE = re.compile(r"^(?:the|an?)\s+", re.IGNORECASE)
SILENT = "'’‘ʼʻ`´"  # Sana'a is Sanaa
SIGNS = "+-$€£¥°#"  # may begin an answer


def finished(text: str) -> str | None:
    """The answer that ``text`` begins with, normalised, where the text shows its end; None where it may go on."""
    begun, start = text.lstrip(), 0
    while mark := _next_mark(begun, start):
        kept, rest = begun[: mark.start()], begun[mark.end() :]
        if not kept.strip(OPENING):
            if mark[0] not in OPENING:
                return ""
            start = mark.end()
            continue
        inside = _is_inside(kept, mark[0], rest)
        if inside is None:
            return None
        if not inside:
            return normalised(kept)
        start = mark.end()
    return None


def _next_mark(text: str, start: int) -> re.Match[str] | None:
    """The next place where an answer may be over; a word counts when it is whole."""
    mark, word = ENDS.search(text, start), GOES_ON.search(text, start)
    if word is not None and word.end() < len(text) and (mark is None or word.start() < mark.start()):
        return word
    return mark


def _is_inside(kept: str, mark: str, rest: str) -> bool | None:
    """Whether the answer goes on behind a mark after ``kept``; None where only what follows ``rest`` will tell."""
    if mark in ".," and kept[-1].isdigit():
        return rest[0].isdigit() if rest else None
    if mark != "." or not (short := SHORT.search(kept)):
        return False
    if len(rest) < 2 and (not rest or rest == " "):
        return None
    if rest[0] != " ":
        return rest[0].isalnum()
    return rest[1].islower() if short["dotted"] else rest[1].isupper()  # D.C. The; U.S. dollar; J. Bach; St. Louis


def normalised(text: str) -> str:
    """An answer as it is kept: trimmed, one space between words, no article, quotes or punctuation around it."""
    readable = "".join(
        c for c in unicodedata.normalize("NFC", text) if c.isspace() or unicodedata.category(c)[0] != "C"
    )
    whole = " ".join(readable.replace("\ufffd", "").split())
    begin = 0
    while begin < len(whole) and not (whole[begin].isalnum() or whole[begin] in SIGNS):
        begin += 1
    whole = whole[begin:].rstrip(" '`’‘\"“”.,;:!?-–—*_/\\([{<")
    return ARTICLE.sub("", whole)


def key(text: str) -> str:
    """What the same answers have in common: no capitals, accents, articles or punctuation."""
    bare = unicodedata.normalize("NFKD", ANY_ARTICLE.sub("", text.strip())).casefold()
    letters = "".join(c if c.isalnum() else " " for c in bare if c not in SILENT and not unicodedata.combining(c))
    return " ".join(letters.split())


def matches(answer: str, right: Iterable[str]) -> bool:
    """Whether an answer is one of the right ones."""
    asked = key(answer)
    return bool(asked) and any(asked == key(one) for one in right)
