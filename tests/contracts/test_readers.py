"""Every reader of files that anybody may have written: junk ends in one error, one line, little memory.

A new reader is one line in `READERS`.
"""

import ast
import dataclasses
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from meisho.asmk.codebook import Codebook
from meisho.config import load_config
from meisho.datasets.csv_table import load_csv_table
from meisho.datasets.labels import read_labels
from meisho.datasets.revisitop import load_ground_truth
from meisho.datasets.safe_pickle import load_plain_pickle
from meisho.descriptors import Provenance
from meisho.errors import MeishoError
from meisho.evaluate.report import load_report
from meisho.extractors.local_checkpoint import find_local
from meisho.extractors.state_file import read_state_file
from meisho.fetching.manifest import read_manifest
from meisho.store.metadata import Metadata, read_metadata, write_metadata
from meisho.whitening import Whitening

PACKAGE = Path(__file__).parents[2] / "src" / "meisho"
CASES = 110
MOST_BYTES = 100_000_000


@dataclasses.dataclass(frozen=True)
class Recipe:
    name: str
    rate: float = 0.1
    sizes: tuple[int, ...] = (1,)


def write_collection(path):
    write_metadata(path.parent, Metadata(Path("/p"), Provenance("x", "{}", "0"), 8))
    (path.parent / "collection-copy.json").unlink()


def write_whitening(path):
    Whitening(np.zeros(3), np.eye(3), "pca", Provenance("x", "{}", "0")).save(path)


MANIFEST = {
    "name": "street",
    "title": "a",
    "licence": "b",
    "homepage": "c",
    "files": [{"path": "a.csv", "size_bytes": 3, "urls": ["https://example.org/a"]}],
}
TRUTH = {
    "imlist": ["a", "b"],
    "qimlist": ["q"],
    "gnd": [{"easy": [0], "hard": [1], "junk": [], "bbx": [0.0, 0.0, 5.0, 5.0]}],
}
LOCAL = {"local_extractor": "delg", "options": {"weights": "x"}}


def dump(value):
    return lambda path: path.write_text(json.dumps(value))


def write_pickle(path):
    import pickle

    path.write_bytes(pickle.dumps(TRUTH))


READERS = {
    # name: (file, how a sound one is written, how it is read)
    "collection": ("collection.json", write_collection, lambda path: read_metadata(path.parent)),
    "manifest": ("m.json", dump(MANIFEST), read_manifest),
    "local": ("local.json", dump(LOCAL), lambda path: find_local(str(path.parent), {}, ["delg"])),
    "report": ("report.json", dump({"format": 1}), load_report),
    "recipe": (
        "r.toml",
        lambda path: path.write_text('name = "a"\nrate = 0.5\nsizes = [1, 2]\n'),
        lambda path: load_config(path, Recipe),
    ),
    "pickle": ("p.pkl", write_pickle, load_plain_pickle),
    "ground truth": ("g.pkl", write_pickle, load_ground_truth),
    "state file": ("s.pth", write_pickle, read_state_file),
    "whitening": ("w.safetensors", write_whitening, Whitening.load),
    "codebook": ("c.npz", lambda path: Codebook(np.eye(3, dtype=np.float32)).save(path), Codebook.load),
    "labels": ("l.csv", lambda path: path.write_text("file,label\na.jpg,x\nb.jpg,x\n"), read_labels),
    "table": (
        "t.csv",
        lambda path: path.write_text("query,positives,x0,y0,x1,y1\nq.jpg,a.jpg,1,2,3,4\n"),
        load_csv_table,
    ),
}

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


@pytest.mark.parametrize("name", READERS)
def test_junk_ends_in_one_error(tmp_path, name):
    file, write, read = READERS[name]
    path = tmp_path / file
    write(path)
    rng = np.random.default_rng([12, *name.encode()])
    sound = path.read_bytes()
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
    assert {each.name for each in tmp_path.iterdir()} == {file}


LIES = {
    "bytearray8": ("pickle", b"\x80\x05\x96\0\0\0\x80\0\0\0\0."),
    "long4": ("pickle", b"\x80\x02\x8b\xff\xff\xff\x7f."),
    "binbytes8": ("pickle", b"\x80\x04\x8e\xff\xff\xff\x7f\0\0\0\0."),
    "frame": ("pickle", b"\x80\x04\x95\xff\xff\xff\x7f\0\0\0\0N."),
    "keys of keys": ("pickle", b"\x80\x02)" + b"2\x86" * 200 + b"}q\0h\0K\x01s."),
    "a long header": ("whitening", (2**40).to_bytes(8, "little") + b"{}"),
}


@pytest.mark.parametrize("name", LIES)
def test_nothing_is_reserved_for_what_is_not_there(tmp_path, name):
    reader, content = LIES[name]
    path = tmp_path / READERS[reader][0]
    path.write_bytes(content)
    tracemalloc.start()
    fault = read_junk(READERS[reader][2], path)
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
    "np.load": set(),
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
