"""Every reader of files that anybody may have written: junk ends in one error, one line, little memory.

A new reader is one line in `sound_files.READERS`, a new boundary one line in `PARSERS`.
"""

import ast
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from sound_files import READERS

from meisho.asmk.codebook import Codebook
from meisho.errors import MeishoError
from meisho.whitening import Whitening

PACKAGE = Path(__file__).parents[2] / "src" / "meisho"
CASES = 110
MOST_BYTES = 100_000_000

PIECES = [
    *(b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000, b"1e999", b"-1", b"NaN", b"Infinity", b"null", b"true"),
    *(
        b'"',
        b"\0",
        b"\xff\xfe",
        b"caf\xe9",
        b"\x1b[31m",
        b"{}",
        b"[[]]",
        b"a." * 5000,
        b"x" * 200_000,
        b"\r\n",
    ),
    *(b"\x96\xff\xff\xff\x7f\0\0\0\0", b"\x8e\xff\xff\xff\x7f\0\0\0\0", b"\x8b\xff\xff\xff\x7f", b"(" * 9999),
    *((2**31).to_bytes(8, "little"), (2**63).to_bytes(8, "little"), b"\x80\x05\x96\0\0\0\x80\0\0\0\0."),
    *(
        b'"dim": "x"',
        b'"dim": 1e5',
        b"inf",
        b"nan = nan",
        "\uff10".encode(),
        "\u202e".encode(),
        b"cos\nsystem\n",
    ),
]


def spoil(rng, data):
    kind, place = rng.integers(6), int(rng.integers(len(data) + 1))
    piece = PIECES[rng.integers(len(PIECES))]
    if kind == 0:
        return data[:place]
    if kind == 1:
        return piece
    if kind == 2:
        return data[:place] + piece + data[place:]
    if kind == 3:
        return data[:place] + piece + data[place + len(piece) :]
    if kind == 4:
        return data.decode("latin-1").encode(("utf-16", "utf-32", "utf-8-sig")[rng.integers(3)])
    spoilt = np.frombuffer(data, np.uint8).copy()
    spoilt[rng.integers(len(spoilt), size=3)] ^= np.uint8(1) << rng.integers(8, size=3, dtype=np.uint8)
    return spoilt.tobytes()


def read_junk(read, path):
    """Read; says what went wrong, or "" for an answer or one plain line that names the file."""
    try:
        read(path)
    except MeishoError as error:
        text = str(error)
        lines = [line for line in text.split("\n  ") if not line.isprintable()]
        return "" if path.name in text and len(text) < 2500 and not lines else f"message {text[:300]!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


def write_sound(name, folder):
    """Write a sound file and what belongs to it; returns its path, and how it is read."""
    file, write, read = READERS[name]
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    (path,) = folder.glob(file)
    return path, read


def contents_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", READERS)
def test_a_sound_file_is_read(tmp_path, name):
    path, read = write_sound(name, tmp_path)
    before = contents_of(tmp_path)
    read(path)
    assert contents_of(tmp_path) == before


@pytest.mark.parametrize("name", READERS)
def test_junk_ends_in_one_error(tmp_path, name):
    path, read = write_sound(name, tmp_path)
    rng = np.random.default_rng([12, *name.encode()])
    before = contents_of(tmp_path)
    sound = before.pop(path)
    faults = []
    tracemalloc.start()
    for _ in range(CASES):
        path.write_bytes(junk := spoil(rng, sound))
        if fault := read_junk(read, path):
            faults.append((junk[:80], fault))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert faults == []
    assert peak < MOST_BYTES
    assert contents_of(tmp_path) == before | {path: path.read_bytes()}


LIES = {
    "bytearray8": ("datasets/safe_pickle.py", b"\x80\x05\x96\0\0\0\x80\0\0\0\0."),
    "long4": ("datasets/safe_pickle.py", b"\x80\x02\x8b\xff\xff\xff\x7f."),
    "binbytes8": ("datasets/safe_pickle.py", b"\x80\x04\x8e\xff\xff\xff\x7f\0\0\0\0."),
    "frame": ("datasets/safe_pickle.py", b"\x80\x04\x95\xff\xff\xff\x7f\0\0\0\0N."),
    "keys of keys": ("datasets/safe_pickle.py", b"\x80\x02)" + b"2\x86" * 200 + b"}q\0h\0K\x01s."),
    "a long header": ("whitening.py", (2**40).to_bytes(8, "little") + b"{}"),
}


@pytest.mark.parametrize("name", LIES)
def test_nothing_is_reserved_for_what_is_not_there(tmp_path, name):
    reader, content = LIES[name]
    path, read = write_sound(reader, tmp_path)
    path.write_bytes(content)
    tracemalloc.start()
    fault = read_junk(read, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fault == "" and peak < 20_000_000


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(tmp_path, value):
    np.savez(tmp_path / "c.npz", centers=np.full((2, 3), value, np.float32))
    with pytest.raises(MeishoError, match=r"c\.npz.*NaN or infinity"):
        Codebook.load(tmp_path / "c.npz")
    safetensors.numpy.save_file({"mean": np.full(3, value, np.float32)}, tmp_path / "w.safetensors")
    with pytest.raises(MeishoError, match=r"w\.safetensors.*NaN or infinity"):
        Whitening.load(tmp_path / "w.safetensors")


PARSERS = {
    "json.loads": {"documents.py"},
    "json.load": set(),
    "tomllib.loads": {"documents.py"},
    "torch.load": {"extractors/weights.py"},
    "pickle.load": {"decoding.py"},
    "pickle.loads": set(),
    "np.load": {"store/snapshot.py"},  # mapped, and compared with its digest
}


def calls_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield ast.unparse(node.func)


def test_no_module_parses_files_past_the_readers():
    found = {name: set() for name in PARSERS}
    for path in PACKAGE.rglob("*.py"):
        for call in calls_of(path):
            if call in found:
                found[call].add(path.relative_to(PACKAGE).as_posix())
    assert found == PARSERS
