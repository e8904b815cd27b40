"""Words for people: "1 photo", "1,240 photos", "2 queries"; and names as text that is safe to print."""

import re

# C0 and C1 controls, marks that change the direction of writing, line separators, bytes that are not text
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def count(number: int, noun: str) -> str:
    """Return a number with its noun: `count(2000, "query")` is "2,000 queries".

    Args:
        number: How many.
        noun: One of them, a regular noun; where it has several words, the last is counted ("database photo").
    """
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Return the plural of a regular noun: photos, queries, matches, indexes, classes."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold a text: names of files may have parts that it cannot."""
    return text.isascii() or text.encode("utf-8", "ignore").decode() == text


def printable(text: object) -> str:
    r"""Return text without what a terminal obeys: each such character as `\x1B`, `\u202e`.

    A file name may hold any character but "/" and NUL: the start of a terminal's command, a line feed, marks
    that turn the direction of writing, bytes that are no text.
    """
    return _UNPRINTABLE.sub(lambda found: _escape(ord(found[0])), str(text))


def json_escaped(text: str) -> str:
    r"""Return JSON text in which what `printable` escapes inside its strings is escaped as JSON has it."""
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def _escape(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no text, as Python keeps it in a name
        code -= 0xDC00
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04x}"
