"""Every reader of files that anybody may have written: junk ends in one error, one line, little memory.

A new reader is one line in `sound_files.READERS`, a new boundary one line in `PARSERS`.
"""

import ast
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from lies import lie
from sound_files import READERS

from meisho.asmk.codebook import Codebook
from meisho.errors import MeishoError
from meisho.whitening import Whitening

PACKAGE = Path(__file__).parents[2] / "src" / "meisho"
CASES = 110
SHARE_OF_LIES = 0.4
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
    if rng.random() < SHARE_OF_LIES and (lied := lie(rng, data)) is not None:
        return lied
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
def test_junk_ends_in_one_error(tmp_path, name, capfd, caplog):
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
    assert capfd.readouterr() == ("", "")
    assert [text for text in caplog.messages if len(text) > 2500 or not text.isprintable()] == []
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
    # what turns bytes into values: {module that may use it: why}
    "json.load": {},
    "json.loads": {"documents.py": "the reader of JSON"},
    "json.JSONDecoder": {},
    "tomllib.load": {},
    "tomllib.loads": {"documents.py": "the reader of TOML"},
    "csv.reader": {
        "datasets/table.py": "the reader of tables",
        "datasets/labels.py": "reads millions of rows in half the time",
        "fetching/selection.py": "looks for few of millions of rows, and keeps those",
    },
    "csv.DictReader": {"training/skipped.py": "holds paths that are not UTF-8"},
    "zipfile.ZipFile": {
        "array_files.py": "the reader of npz",
        "contest/wheel.py": "writes one",
        "extractors/weights.py": "looks into a checkpoint before torch does",
        "fetching/archives.py": "the reader of archives",
    },
    "tarfile.open": {"fetching/archives.py": "the reader of archives"},
    "tarfile.TarFile": {"fetching/archives.py": "the reader of archives"},
    "shutil.unpack_archive": {},
    "safetensors.safe_open": {"array_files.py": "the reader of safetensors"},
    "safetensors.deserialize": {},
    "safetensors.numpy.load": {},
    "safetensors.numpy.load_file": {},
    "safetensors.torch.load": {},
    "safetensors.torch.load_file": {
        "extractors/weights.py": "the reader of weights; NumPy has no bfloat16",
        "training/state.py": "maps what may be gigabytes",
    },
    "pickle.load": {"decoding.py": "from our own processes"},
    "pickle.loads": {},
    "pickle.Unpickler": {"extractors/state_file.py": "a type, for the stack"},
    "pickle._Unpickler": {
        "datasets/safe_pickle.py": "the reader of published pickles, calls nothing",
        "extractors/state_file.py": "the reader of state dicts without torch, calls nothing",
    },
    "torch.load": {"extractors/weights.py": "the reader of checkpoints"},
    "onnx.load": {"training/export.py": "what it has just written"},
    "onnxruntime.InferenceSession": {
        "extractors/onnx_session.py": "the reader of networks",
        "index/products.py": "what it has just written",
        "training/export.py": "what it has just written",
    },
    "faiss.read_index": {},
    "faiss.deserialize_index": {"index/faiss_index.py": "what its digest proves to be our own"},
    "numpy.load": {},
    "numpy.loadtxt": {},
    "numpy.genfromtxt": {},
    "numpy.fromfile": {},
    "numpy.memmap": {
        "array_files.py": "what it has just written",
        "index/graph_files.py": "maps it, and compares it with its digest",
    },
    "numpy.lib.format.read_array": {},
    "numpy.lib.format.open_memmap": {},
    "numpy.lib.format.read_array_header_1_0": {"array_files.py": "the reader of npz"},
    "numpy.lib.format.read_array_header_2_0": {"array_files.py": "the reader of npz"},
}
NEVER_IMPORTED = {"shelve", "marshal", "dill", "cloudpickle", "joblib", "yaml", "xml", "configparser", "h5py"}
SHARED = {
    *("meisho.documents." + name for name in ("read_json", "parse_json", "read_toml", "parse_toml")),
    *("meisho.documents.read_limited", "meisho.documents.decode_text", "meisho.sealed.read_sealed"),
    *("meisho.array_files.read_npz", "meisho.array_files.read_safetensors"),
    *("meisho.datasets.table.read_table", "meisho.datasets.safe_pickle.load_plain_pickle"),
    *("meisho.extractors.weights.read_state_dict", "meisho.extractors.state_file.read_state_file"),
    *("meisho.extractors.onnx_session.OnnxNetwork", "meisho.index.files.read_checked"),
}
"""The readers that others are made of: a module that uses one has a line in `sound_files.READERS`."""
WITHOUT_A_LINE = {
    "array_files.py": "is one of them",
    "sealed.py": "is one of them",
    "run/cells.py": "what is not sound is no cell, and is made again: see tests/cli/test_leaderboard.py",
    "datasets/table.py": "is one of them",
    "client.py": "answers of a service",
    "descriptors.py": "a part of other files: collection, report, whitening",
    "extractors/delg.py": "weights alone",
    "extractors/learned_matching.py": "weights alone",
    "extractors/network.py": "weights alone",
    "extractors/onnx_gem.py": "files of this package",
    "extractors/packaged_weights.py": "weights alone",
    "extractors/xfeat.py": "weights alone",
    "index/exact.py": "checked by index/live.py",
    "index/faiss_index.py": "checked by index/live.py",
    "service/bodies.py": "requests, see tests/service",
    "service/cursors.py": "made by the service, see tests/service",
    "service/evaluations.py": "folders that the service made; its tables are those of datasets/table.py",
    "service/jobs.py": "from our own processes; jobs of before are checked by service/notebook.py",
    "service/worker.py": "from our own processes",
    "store/leases.py": "an object of a store: see tests/test_buckets.py",
    "toycity/worker.py": "from our own processes",
}


def names_used(path):
    """Yield the whole names of what a module uses: `load_file` is "safetensors.torch.load_file"."""
    tree, origins = ast.parse(path.read_text()), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            origins |= {
                each.asname or each.name.partition(".")[0]: each.name for each in node.names if each.asname
            }
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            origins |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
            yield from (f"{node.module}.{each.name}" for each in node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, *rest = ast.unparse(node).split(".")
            yield ".".join([origins.get(first, first), *rest])


def modules_that_use(names):
    found = {name: set() for name in names}
    for path in PACKAGE.rglob("*.py"):
        for name in {*names_used(path)} & {*names}:
            found[name].add(path.relative_to(PACKAGE).as_posix())
    return found


def test_no_module_parses_files_past_the_readers():
    assert modules_that_use(PARSERS) == {name: set(modules) for name, modules in PARSERS.items()}
    roots = {name.partition(".")[0] for path in PACKAGE.rglob("*.py") for name in names_used(path)}
    assert not roots & NEVER_IMPORTED


def test_every_module_that_reads_has_a_sound_file():
    using = set().union(*modules_that_use(SHARED).values())
    spoilt = {name.partition(":")[0] for name in READERS}
    assert using - spoilt == WITHOUT_A_LINE.keys()
    assert spoilt <= {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
