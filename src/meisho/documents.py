"""Documents: JSON and TOML from files that anybody may have written, read in one place.

A document is held to a size, a depth and numbers that a float can be; a key stands once, the text is UTF-8.
Whatever is wrong ends in the one error that the caller names, in one line that says file, key and reason::

    fields = read_json(folder / "model.json", error=WeightsError, advice="save the checkpoint again")
    dim = fields.integer("dim", low=1, high=65_536)
    # WeightsError: model.json: dim is 'x', must be a whole number from 1 to 65,536; save the checkpoint again
"""

import json
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from meisho.errors import ConfigError, MeishoError

MOST_BYTES = 1 << 30
"""A snapshot's list of ten million photos has about as much."""
MOST_TOML_BYTES = 1 << 20
MOST_DEPTH = 64
MOST_DIGITS = 100
_INT64 = 2**63 - 1
_BOMS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_LONG_NUMBER = re.compile(rf"(?<![\w.])[\d_]{{{MOST_DIGITS + 1}}}")
_DEEP_KEY = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{MOST_DEPTH}}}"""
)  # the parser of the standard library takes the square of a dotted key's length


@dataclass(frozen=True)
class Fields:
    """An object of JSON or a table of TOML; each method takes one key, checked.

    Attributes:
        values: Key -> value, as parsed.
        source: Where it comes from, for messages.
        error: Raised for what is wrong.
        advice: What to do then.
        key: Its own key, with a dot behind, in the whole document; "" for that.
    """

    values: Mapping[str, object]
    source: str
    error: type[MeishoError] = ConfigError
    advice: str = "correct it there"
    key: str = ""

    def has(self, name: str) -> bool:
        """Say whether a key is there and not null."""
        return self.values.get(name) is not None

    def integer(self, name: str, *, low: int = 0, high: int = _INT64) -> int:
        """Return a whole number from `low` to `high`."""
        value = self.values.get(name)
        if type(value) is not int or not low <= value <= high:
            self._refuse(name, f"a whole number from {low:,} to {high:,}")
        return value

    def number(self, name: str, *, low: float = -math.inf, high: float = math.inf) -> float:
        """Return a number from `low` to `high`, not NaN; infinity is none."""
        value = self.values.get(name)
        if type(value) not in (int, float) or not low <= value <= high or math.isinf(value):  # type: ignore[operator, arg-type]
            span = "" if math.isinf(high) and math.isinf(low) else f" from {low:g} to {high:g}"
            self._refuse(name, f"a number{span}")
        return float(value)  # type: ignore[arg-type]

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self.values.get(name)
        if not isinstance(value, bool):
            self._refuse(name, "true or false")
        return value

    def text(self, name: str) -> str:
        """Return a text without NUL."""
        value = self.values.get(name)
        if not isinstance(value, str) or "\0" in value:
            self._refuse(name, "text")
        return value

    def texts(self, name: str) -> list[str]:
        """Return a list of texts."""
        values = self.values.get(name)
        if not isinstance(values, list) or not all(
            type(value) is str and "\0" not in value for value in values
        ):
            self._refuse(name, "a list of texts")
        return values

    def table(self, name: str) -> "Fields":
        """Return an object inside."""
        return self._inside(name, self.values.get(name))

    def tables(self, name: str) -> list["Fields"]:
        """Return a list of objects."""
        values = self.values.get(name)
        if not isinstance(values, list):
            self._refuse(name, "a list of objects")
        return [self._inside(f"{name}[{number}]", value) for number, value in enumerate(values)]

    def fail(self, reason: str) -> NoReturn:
        """Raise the error of this document."""
        raise self.error(f"{self.source}: {reason}; {self.advice}")

    def _inside(self, name: str, value: object) -> "Fields":
        if not isinstance(value, Mapping):
            self._refuse(name, "an object", value)
        return replace(self, values=value, key=f"{self.key}{name}.")

    def _refuse(self, name: str, wanted: str, value: object = None) -> NoReturn:
        if name not in self.values and value is None:
            self.fail(f"{self.key}{name} is missing, must be {wanted}")
        self.fail(f"{self.key}{name} is {shorten(self.values.get(name, value))}, must be {wanted}")


def read_json(
    path: Path,
    *,
    error: type[MeishoError],
    advice: str = "correct it there",
    most_bytes: int = MOST_BYTES,
    nan: bool = False,
) -> Fields:
    """Read a file that holds one JSON object.

    Args:
        path: The file.
        error: Raised when it cannot be read or is no such file.
        advice: What to do then, the end of the message.
        most_bytes: The largest size that it may have.
        nan: Whether NaN and Infinity may stand for numbers.

    Raises:
        MeishoError: `error`, as said above.
    """
    raw = read_limited(path, error=error, advice=advice, most_bytes=most_bytes)
    return parse_json(raw, source=str(path), error=error, advice=advice, nan=nan)


def parse_json(
    content: str | bytes,
    *,
    source: str,
    error: type[MeishoError],
    advice: str = "correct it there",
    nan: bool = False,
) -> Fields:
    """Read one JSON object from a text; `source` says where it stands, the rest is as for `read_json`."""
    fields = Fields({}, source, error, advice)
    text = decode_text(content, source=source, error=error) if isinstance(content, bytes) else content
    constant = float if nan else _no_constant
    try:
        values = json.loads(
            text,
            object_pairs_hook=_without_repeats,
            parse_constant=constant,
            parse_int=_whole,
            parse_float=None if nan else _finite,
        )
        check_depth(values, text.count("[") + text.count("{"))
    except json.JSONDecodeError as fault:
        raise error(f"{source}:{fault.lineno}: is no JSON: {fault.msg}; {advice}") from fault
    except (ValueError, RecursionError) as fault:
        reason = f"it is more than {MOST_DEPTH} levels deep" if isinstance(fault, RecursionError) else fault
        raise error(f"{source}: is refused: {one_line(reason)}; {advice}") from fault
    if not isinstance(values, dict):
        fields.fail(f"holds {shorten(values)}, expected an object with keys")
    return replace(fields, values=values)


def read_toml(path: Path, *, error: type[MeishoError] = ConfigError) -> Fields:
    """Read a TOML file.

    Raises:
        MeishoError: `error`: it cannot be read, or is no TOML.
    """
    raw = read_limited(path, error=error, advice="is it TOML?", most_bytes=MOST_TOML_BYTES)
    return parse_toml(decode_text(raw, source=str(path), error=error), source=str(path), error=error)


def parse_toml(text: str, *, source: str, error: type[MeishoError] = ConfigError) -> Fields:
    """Read TOML from a text; `source` says where it stands.

    Raises:
        MeishoError: `error`: it is no TOML.
    """
    try:
        if _DEEP_KEY.search(text):
            raise RecursionError
        if found := _LONG_NUMBER.search(text.replace("\r", "")):
            start = text.count("\n", 0, found.start()) + 1
            if not _stands_in_text(text, found.start()):
                raise ValueError(f"a number on line {start} has more than {MOST_DIGITS} digits")
        values = tomllib.loads(text)
        check_depth(values, text.count("[") + text.count("{") + text.count("."))
    except (ValueError, RecursionError) as fault:  # no TOML, a date that is none, a number too long
        reason = f"it is more than {MOST_DEPTH} levels deep" if isinstance(fault, RecursionError) else fault
        raise error(f"{source}: is no TOML ({one_line(reason)}); correct it there") from fault
    return Fields(values, source, error)


def read_limited(path: Path, *, error: type[MeishoError], advice: str, most_bytes: int) -> bytes:
    """Read a file whole, unless it has more bytes than it may.

    Raises:
        MeishoError: `error`: it cannot be read, or is too large.
    """
    try:
        if path.exists() and not path.is_file():
            raise error(f"{path}: cannot be read (it is no plain file); {advice}")
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > most_bytes:
                raise error(f"{path}: has more than {most_bytes:,} bytes, which is too much; {advice}")
            return file.read()  # not read(most_bytes): that reserves as much
    except OSError as fault:
        raise error(f"{path}: cannot be read ({fault.strerror or one_line(fault)}); {advice}") from fault
    except ValueError as fault:  # a NUL inside the path
        raise error(f"{path!s:.200}: is not a path ({one_line(fault)})") from fault


def is_there(path: Path) -> bool:
    """Say whether a path names a file; a text that can be no path names none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, a NUL
        return False


def decode_text(
    raw: bytes, *, source: str, error: type[MeishoError], save_as: str = "UTF-8", what: str = "it"
) -> str:
    """Return a file's text, UTF-8 with or without a byte-order mark.

    Raises:
        MeishoError: `error`: it is written in another encoding; the message names it where it can be told.
    """
    for bom, name in _BOMS:
        if raw.startswith(bom):
            raise error(f"{source}:1: is not UTF-8 text, but {name}; save {what} as {save_as}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line, byte = raw.count(b"\n", 0, fault.start) + 1, raw[fault.start]
        raise error(
            f"{source}:{line}: is not UTF-8 text; save {what} as {save_as} "
            f"(byte {byte:#04x}, perhaps Latin-1)"
        ) from fault


def check_depth(values: object, most_levels: int = MOST_DEPTH + 1) -> None:
    """Refuse values that lie deeper in each other than `MOST_DEPTH` levels.

    Args:
        values: Lists and dicts in each other.
        most_levels: How deep they can be at most; not looked at where that is little enough.

    Raises:
        RecursionError: They do.
    """
    if most_levels <= MOST_DEPTH:
        return
    level: list[object] = [values]
    for _ in range(MOST_DEPTH):
        level = [part for each in level for part in _parts(each) if isinstance(part, dict | list)]
        if not level:
            return
    raise RecursionError


def shorten(value: object) -> str:
    """Return a value as it stands in a message: one line of at most 80 signs, whatever it is."""
    if isinstance(value, dict | list) and value:
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if value and not isinstance(value, str | bytes | int | float | bool | None):
        return f"a {type(value).__name__}"
    try:
        return f"{value!r:.80}"
    except ValueError:  # an int with more digits than Python says
        return "a number of thousands of digits"


def one_line(reason: object, most: int = 300) -> str:
    """Return an error's text without line feeds and control characters, at most so long."""
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", str(reason)[: 10 * most])
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(plain.split())[:most]


def _parts(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r:.80} stands twice in one object")
    return values


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} stands for a number")


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number has {len(text):,} digits, at most {MOST_DIGITS} are read")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text:.40} is too large")
    return value


def _stands_in_text(text: str, place: int) -> bool:
    line = text[text.rfind("\n", 0, place) + 1 : place]
    return '"' in line or "'" in line


def parse_numbers(text: str, *, source: str) -> list[float]:
    """Read finite numbers with commas between.

    Args:
        text: Such as "10,20.5,300,400".
        source: What gave it, for messages.

    Raises:
        ConfigError: It is not that.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not all(map(math.isfinite, numbers)):
        raise ConfigError(f"{source} {text!r:.200}: give finite numbers")
    if not numbers:
        raise ConfigError(f"{source} {text!r:.200}: give numbers with commas between, without spaces")
    return numbers
