"""Words around numbers: "1 photo", "1,240 photos", "2 queries"."""


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
