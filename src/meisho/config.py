"""Configuration: a TOML file -> frozen dataclasses, checked key by key, and back.

The dataclasses say everything: their fields are the keys, their annotations the types, their defaults the
only defaults. A field may be `bool`, `int`, `float`, `str`, `Path`, a `Literal`, another dataclass (a table),
any of these with `| None` and the default None, `tuple[X, ...]` or `list[X]` of them (an array),
`dict[str, object]` (a table that somebody else checks), or `object` (any value)::

    @dataclass(frozen=True)
    class Schedule:
        epochs: int = 10

    @dataclass(frozen=True)
    class Recipe:
        name: str
        schedule: Schedule = Schedule()

    recipe = load_config(Path("recipe.toml"), Recipe, overrides=["schedule.epochs=3"])
"""

import inspect
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from meisho.documents import Fields, parse_toml, read_toml, shorten
from meisho.errors import ConfigError
from meisho.tables import find_nearest

C = TypeVar("C")

_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


def load_config(path: Path, cls: type[C], *, overrides: Sequence[str] = ()) -> C:
    """Read a TOML file as the dataclass `cls`.

    Args:
        path: The file.
        cls: A dataclass.
        overrides: "key=value" or "table.key=value", which replace what the file says; the value is TOML, or
            plain text where it is no TOML.

    Raises:
        ConfigError: The file cannot be read, a key is unknown (the nearest known one is named) or missing, or
            a value is of the wrong type or refused by its class; the message says file, key and what was
            expected.
    """
    values: Mapping[str, object] = read_toml(path).values
    for text in overrides:
        values = _override(values, text)
    return parse_config(values, cls, source=str(path))


def parse_config(values: Mapping[str, object], cls: type[C], *, source: str) -> C:
    """Build the dataclass `cls` from nested mappings, as they stand in TOML or JSON.

    Args:
        values: Key -> value.
        cls: A dataclass.
        source: Where they come from, for messages.

    Raises:
        ConfigError: As for `load_config`.
    """
    try:
        return _parse_table(values, cls, key="")
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def build(fields: Fields, cls: type[C]) -> C:
    """Build the dataclass `cls` from a document or an object in it; keys, types and defaults as above.

    Raises:
        MeishoError: The error of the document: a key is unknown or missing, or a value of the wrong type.
    """
    try:
        return _parse_table(fields.values, cls, key=fields.key.rstrip("."))
    except ConfigError as error:
        raise fields.error(f"{fields.source}: {error}; {fields.advice}") from error


def check_options(
    options: Mapping[str, object], *takers: Callable[..., object], key: str, no_options: Collection[str] = ()
) -> None:
    """Check a table of options against the functions or classes that take them.

    An option is an argument that has a default; its annotation is its type, as for a dataclass's field, and
    `Sequence[X]` is an array too.

    Args:
        options: Name -> value, as they stand in TOML.
        takers: What is called with them.
        key: Key of the table, for messages.
        no_options: Arguments that have a default and are none of the table's.

    Raises:
        ConfigError: One is not known, or its value is of the wrong type; the message says its whole key.
    """
    hints = [item for taker in takers for item in _option_hints(taker).items()]
    known = {name: hint for name, hint in hints if name not in no_options}
    for name, value in options.items():
        if name not in known:
            raise ConfigError(f"the key {_join(key, name)!r:.200} is not known; {_nearest(name, key, known)}")
        _parse(value, known[name], _join(key, name))


def config_values(config: object) -> dict[str, object]:
    """Return a dataclass as nested plain values, None left out: what TOML and JSON hold."""
    values = {f.name: _plain(getattr(config, f.name)) for f in _fields(config)}
    return {name: value for name, value in values.items() if value is not None}


def config_toml(config: object) -> str:
    """Return a dataclass as TOML text, every default said; `load_config` reads an equal one from it."""
    return _toml_table(config_values(config), "").lstrip("\n")


def _parse_table(values: object, cls: type[C], key: str) -> C:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{key} is {values!r:.80}, expected a table of {cls.__name__}")
    known = {f.name: f for f in _fields(cls) if f.init}
    for name in values:
        if name not in known:
            every = [*known, *_inner_keys(cls)]
            raise ConfigError(f"the key {_join(key, name)!r:.200} is not known; {_nearest(name, key, every)}")
    missing = [name for name, field in known.items() if name not in values and not _has_default(field)]
    if missing:
        raise ConfigError(f"the key {_join(key, missing[0])!r} is missing; add it")
    hints = _cached_hints(cls)  # type: ignore[arg-type]  # a class can be hashed
    parsed = {name: _parse(value, hints[name], _join(key, name)) for name, value in values.items()}
    try:
        return cls(**parsed)
    except ConfigError as error:
        raise ConfigError(f"{f'[{key}] ' if key else ''}{error}") from error


def _parse(value: object, hint: object, key: str) -> object:
    if get_origin(hint) in (Union, UnionType):
        return _parse_union(value, hint, key)
    if get_origin(hint) is Literal:
        if not isinstance(value, str | int) or value not in get_args(hint):
            choices = ", ".join(map(str, get_args(hint)))
            raise ConfigError(f"{key} is {shorten(value)}, expected one of {choices}")
        return value
    if get_origin(hint) in (tuple, list, Sequence):
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{key} is {shorten(value)}, expected {_describe(hint)}")
        part = get_args(hint)[0]
        parsed = [_parse(v, part, f"{key}[{i}]") for i, v in enumerate(value)]
        return parsed if get_origin(hint) is list else tuple(parsed)
    if isinstance(hint, type) and is_dataclass(hint):
        return _parse_table(value, hint, key)
    return _parse_plain(value, hint, key)


def _parse_union(value: object, hint: object, key: str) -> object:
    parts = [part for part in get_args(hint) if part is not type(None)]
    if value is None and len(parts) < len(get_args(hint)):
        return None
    if len(parts) == 1:
        return _parse(value, parts[0], key)
    for part in parts:
        try:
            return _parse(value, part, key)
        except ConfigError:
            continue
    raise ConfigError(f"{key} is {shorten(value)}, expected {_describe(hint)}")


def _parse_plain(value: object, hint: object, key: str) -> object:
    if hint is object:
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _float(value, key)
    if hint is Path and isinstance(value, str | Path) and "\0" not in str(value):
        return Path(value)
    if hint in (bool, str, int) and type(value) is hint and not _is_huge(value):
        return value
    if get_origin(hint) is dict and isinstance(value, Mapping):
        return dict(value)
    raise ConfigError(f"{key} is {shorten(value)}, expected {_describe(hint)}")


def _is_huge(value: object) -> bool:
    return type(value) is int and not -(2**63) <= value < 2**63


def _float(value: float, key: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise ConfigError(f"{key} is {shorten(value)}, expected a number that a float can be") from error


def _describe(hint: object) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_describe(part) for part in get_args(hint) if part is not type(None))
    if get_origin(hint) in (tuple, list, Sequence):
        return f"an array, each {_describe(get_args(hint)[0])}"
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    return next((name for kind, name in _NAMES.items() if kind is hint), "a table")


def _option_hints(taker: Callable[..., object]) -> dict[str, object]:
    arguments = inspect.signature(taker, eval_str=True).parameters.values()
    return {
        a.name: object if a.annotation is a.empty else a.annotation
        for a in arguments
        if a.default is not a.empty
    }


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _nearest(name: str, key: str, known: Collection[str]) -> str:
    """Name the nearest of some keys by their last parts, and all that are of this table itself."""
    if not known:
        return "there are none here"
    own = [k for k in known if "." not in k]
    last = find_nearest(name, [k.rpartition(".")[2] for k in known])[0]
    near = [last] if last in own else [k for k in known if k.rpartition(".")[2] == last]
    quoted = " or ".join(repr(_join(key, k)) for k in near)
    return f"the nearest is {quoted} (all: {', '.join(own)})"


def _inner_keys(cls: type) -> Iterator[str]:
    """List the keys of the tables below a dataclass, with dots."""
    for name, hint in _cached_hints(cls).items():
        if isinstance(hint, type) and is_dataclass(hint):
            inner = [f.name for f in _fields(hint)] + list(_inner_keys(hint))
            yield from (f"{name}.{k}" for k in inner)


@cache
def _cached_hints(cls: type) -> dict[str, object]:
    return get_type_hints(cls)


def _fields(config: object) -> tuple["Field[object]", ...]:
    assert is_dataclass(config), f"{config!r:.80} is no dataclass"
    return fields(config)


def _has_default(field: "Field[object]") -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _override(values: Mapping[str, object], text: str) -> dict[str, object]:
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"--set {text!r:.80}: expected KEY=VALUE, for example schedule.epochs=3")
    return _replace(values, key.strip().split("."), _value(value.strip()), text)


def _replace(values: Mapping[str, object], path: list[str], value: object, text: str) -> dict[str, object]:
    name, *rest = path
    if not rest:
        return {**values, name: value}
    inner = values.get(name, {})
    if not isinstance(inner, Mapping):
        raise ConfigError(f"--set {text!r:.80}: {name} is no table")
    return {**values, name: _replace(inner, rest, value, text)}


def _value(text: str) -> object:
    try:
        return parse_toml(f"value = {text}", source="--set").values["value"]
    except ConfigError:
        return text


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return config_values(value)
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    return str(value) if isinstance(value, Path) else value


def _toml_table(values: Mapping[str, object], key: str) -> str:
    tables = {name: value for name, value in values.items() if isinstance(value, Mapping)}
    arrays = {name: rows for name, value in values.items() if (rows := _array_of_tables(value))}
    lines = [
        f"{_toml_key(name)} = {_toml_value(value)}"
        for name, value in values.items()
        if name not in tables and name not in arrays
    ]
    parts = ["\n".join(lines) + "\n"] if lines else []
    for name, value in tables.items():
        inner = _join(key, _toml_key(name))
        parts.append(f"\n[{inner}]\n{_toml_table(value, inner)}")
    for name, rows in arrays.items():
        inner = _join(key, _toml_key(name))
        parts += [f"\n[[{inner}]]\n{_toml_table(row, inner)}" for row in rows]
    return "".join(parts)


def _array_of_tables(value: object) -> list[Mapping[str, object]]:
    """Return the tables of an array that holds nothing else; [] for everything else."""
    tables = [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []
    return tables if isinstance(value, list) and len(tables) == len(value) else []


def _toml_key(name: str) -> str:
    plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if plain else _toml_value(name)


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_toml_key(k)} = {_toml_value(v)}' for k, v in value.items())} }}"
    return repr(value)  # inf and nan are TOML's words too
