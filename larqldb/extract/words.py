"""Which tokens read as words, in any script."""

from __future__ import annotations

import unicodedata

JOINERS = "-'’·."


def is_word(text: str) -> bool:
    """Whether a token's text is a word or part of one: letters and marks of any script, hyphens and apostrophes."""
    word = text.strip()
    return bool(word) and any(c.isalpha() for c in word) and all(_belongs(c) for c in word)


def is_name(text: str) -> bool:
    """Whether a token alone can name something.

    In scripts with upper and lower case that is a word that starts with a space and a capital and has three letters;
    in scripts without case, any word of two characters.
    """
    word = text.strip()
    if not is_word(text):
        return False
    if unicodedata.category(word[0]) == "Lo":
        return len(word) >= 2
    return text[0] == " " and word[0].isupper() and not word.isupper() and sum(map(str.isalpha, word)) >= 3


def _belongs(character: str) -> bool:
    return character.isalpha() or character in JOINERS or unicodedata.category(character).startswith("M")
