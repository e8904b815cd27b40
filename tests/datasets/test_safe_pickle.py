import os
import pickle
import random
import struct

import numpy as np
import pytest

from meisho.datasets.safe_pickle import load_plain_pickle
from meisho.errors import DatasetError

PLAIN = {"imlist": ["a", "b"], "gnd": [{"bbx": (1, 2.5, -3, 10**30), "easy": [0], "ok": True, "no": None}]}


class Malicious:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_read_in_every_pickle_protocol(tmp_path, protocol):
    file = tmp_path / "plain.pkl"
    file.write_bytes(pickle.dumps(PLAIN, protocol=protocol))
    value, raw = load_plain_pickle(file)
    assert value == PLAIN
    assert raw == file.read_bytes()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_runs_a_command_is_refused_by_name_and_runs_nothing(tmp_path, protocol):
    trace = tmp_path / "trace"
    file = tmp_path / "evil.pkl"
    attack = Malicious(os.system, f"touch {trace}")
    file.write_bytes(pickle.dumps({"gnd": [attack]}, protocol=protocol))
    with pytest.raises(DatasetError, match=r"evil\.pkl: refused, it asks for (posix|nt)\.system"):
        load_plain_pickle(file)
    assert not trace.exists()
    pickle.loads(file.read_bytes())  # the attack is a real one: the usual reader runs it
    assert trace.exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Malicious(eval, "1 + 1"), r"builtins\.eval"),
        (Malicious(getattr, "a", "join"), r"builtins\.getattr"),
        (np.zeros(3), r"numpy"),
        (np.float64(1), r"numpy"),
        (complex(1, 2), r"builtins\.complex"),
        (range(3), r"builtins\.range"),
        (len, r"builtins\.len"),
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
def test_everything_that_needs_a_class_or_function_is_refused_by_name(tmp_path, value, name):
    file = tmp_path / "other.pkl"
    file.write_bytes(pickle.dumps([value], protocol=4))
    with pytest.raises(DatasetError, match=rf"it asks for {name}"):
        load_plain_pickle(file)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not a pickle",
        pickle.dumps(PLAIN)[:-5],
        b"\x80\x04]\x94(K\x01R.",  # calls a list
        b"\x80\x04K\x01}\x8c\x01aK\x01sb.",  # sets the state of a number
        b"\x80\x02]r"
        + struct.pack("<I", 2**32 - 1)
        + b"00.",  # would reserve 32 GB in the reader written in C
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.",  # promises a string of a terabyte
        b"\x80\x04\x82\x01.",  # an extension
        b"cos\nsystem\n(S'true'\ntR.",
        b"(i__main__\nMalicious\n.",
        b"P1\n.",  # a persistent id
    ],
    ids=repr,
)
def test_broken_or_hostile_bytes_end_in_one_error_that_names_the_file(tmp_path, raw):
    file = tmp_path / "broken.pkl"
    file.write_bytes(raw)
    with pytest.raises(DatasetError, match=r"broken\.pkl: (is not a whole pickle|refused)"):
        load_plain_pickle(file)


def test_bytes_changed_at_random_never_end_in_another_error(tmp_path):
    rng = random.Random(0)
    good = pickle.dumps(PLAIN, protocol=2)
    file = tmp_path / "changed.pkl"
    refused = 0
    for _ in range(500):
        raw = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        file.write_bytes(raw)
        try:
            load_plain_pickle(file)
        except DatasetError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("name", ["missing.pkl", "."])
def test_a_file_that_cannot_be_read_says_so(tmp_path, name):
    with pytest.raises(DatasetError, match="cannot be read"):
        load_plain_pickle(tmp_path / name)
