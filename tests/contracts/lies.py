"""Files that are whole and lie: one value inside is replaced, in the file's own format."""

import io
import json
import pickle
import zipfile

import numpy as np
import onnx
import safetensors
import safetensors.numpy
import torch
from onnx import helper

from meisho.sealed import _digest

VALUES = [
    *(None, True, False, 0, -1, 1, 2, 64, 10**6, 2**31, 2**40, 2**62, -(2**63), 2**64, 10**40, 10**400),
    *(
        0.5,
        -0.0,
        1e-320,
        1e16,
        1e300,
        -1e308,
        "",
        "x",
        "\0",
        "\ud800",
        "caf\u00e9",
        "a\nb",
        "\x1b[31m",
        "../../x",
    ),
    *(
        "/dev/zero",
        "nan",
        "1e999",
        "[]",
        "x" * 3000,
        [],
        {},
        [None],
        [1, "x"],
        [[[]]],
        {"": 0},
        {"x": {"y": []}},
    ),
    *([0.5] * 9, [-1, 2], ["a", "a"], [1e300, 1e300, -1e300, 5.0]),
]
ARRAYS = [
    *(np.zeros(0, np.float32), np.zeros((0, 3), np.float32), np.zeros((3, 0), np.float32), np.float32(1)),
    *(np.full((3, 3), 1e38, np.float32), np.full((2, 2, 2), -1, np.int64), np.full(3, 2**62, np.int64)),
    *(
        np.full(3, -1, np.int32),
        np.ones(3, np.uint8),
        np.ones((3, 3), bool),
        np.full(3, 2**64 - 1, np.uint64),
    ),
    *(np.ones((3, 3), np.float16), np.arange(9.0), np.frombuffer(b'{"format": 1}', np.uint8)),
    *(np.full(3, np.nan), np.full((3, 3), np.inf, np.float32), np.array([2**31 - 1] * 3, np.int32)),
]


def lie(rng, data):
    """Return the file with one value replaced, or None where its format is not known here."""
    for change in (_json, _npz, _safetensors, _torch, _pickle, _onnx):
        try:
            return change(rng, data)
        except Exception:  # it is not of that format
            continue
    return None


def _pick(rng, values):
    return values[int(rng.integers(len(values)))]


def _json(rng, data):
    values = json.loads(data)
    if "sha256" not in values:
        return json.dumps(_change(rng, values)).encode()
    del values["sha256"]
    values = _change(rng, values)
    return json.dumps({**values, "sha256": _digest(values)}).encode()


def _change(rng, values):
    """Replace, remove or add one value somewhere in lists and dicts."""
    places = [*_places(values)]
    holder, key = _pick(rng, places)
    kind = rng.integers(8)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[_pick(rng, ["", "x", "\0", "x" * 3000, "\x1b"])] = _pick(rng, VALUES)
    else:
        holder[key] = _pick(rng, VALUES)
    return values


def _places(values):
    for key in values if isinstance(values, dict) else range(len(values)):
        yield values, key
        if isinstance(values[key], dict | list):
            yield from _places(values[key])


def _npz(rng, data):
    arrays = dict(np.load(io.BytesIO(data)).items())
    return _saved(lambda file: np.savez(file, **_other_array(rng, arrays)))


def _other_array(rng, arrays):
    name = _pick(rng, sorted(arrays))
    if rng.integers(8) == 0:
        return {key: value for key, value in arrays.items() if key != name}
    return arrays | {name: np.asarray(_pick(rng, ARRAYS))}


def _safetensors(rng, data):
    size = int.from_bytes(data[:8], "little")
    facts = json.loads(data[8 : 8 + size]).get("__metadata__")
    arrays = safetensors.numpy.load(data)
    if facts and rng.integers(2):
        key = _pick(rng, sorted(facts))
        facts[key] = (
            _change(rng, json.loads(facts[key])) if facts[key].startswith("{") else _pick(rng, VALUES)
        )
        facts[key] = facts[key] if isinstance(facts[key], str) else json.dumps(facts[key])
    else:
        arrays = _other_array(rng, arrays)
    return safetensors.numpy.save(arrays, facts)


def _torch(rng, data):
    state = torch.load(io.BytesIO(data), weights_only=True)
    name, zipped = _pick(rng, sorted(state)), zipfile.is_zipfile(io.BytesIO(data))
    tensors = [
        *(
            torch.ones(2).to_sparse(),
            torch.ones(2, device="meta"),
            torch.ones(0),
            torch.ones(2, dtype=torch.bool),
        ),
        *(
            torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
            torch.ones(2, 2).T,
            torch.tensor(1j),
        ),
    ]
    state[_pick(rng, [name, 3, "x" * 3000, "\x1b"])] = _pick(rng, [*tensors, *VALUES])
    return _saved(lambda file: torch.save(state, file, _use_new_zipfile_serialization=zipped))


def _pickle(rng, data):
    return pickle.dumps(_change(rng, pickle.loads(data)))


def _onnx(rng, data):
    model = onnx.load_from_string(data)
    facts = {each.key: each.value for each in model.metadata_props}
    key = _pick(rng, sorted(facts))
    if key == "options":
        facts[key] = json.dumps(_change(rng, json.loads(facts[key])))
    else:
        facts[key] = str(_pick(rng, VALUES))
    if rng.integers(8) == 0:
        del facts[key]
    helper.set_model_props(model, facts)
    return model.SerializeToString()


def _saved(save):
    file = io.BytesIO()
    save(file)
    return file.getvalue()
