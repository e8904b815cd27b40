"""A manifest is read as LanceDB wrote it, and what no version names is deleted, nothing else."""

from datetime import timedelta

import numpy as np
import pytest

from meisho.store import tables
from meisho.store.manifests import list_manifests, read_fragments, sweep
from meisho.store.tables import pa

SCHEMA = pa.schema([pa.field("sequence", pa.int64()), pa.field("text", pa.large_string())])


def rows(first, last):
    texts = [f"text {n}" for n in range(first, last)]
    return pa.table([pa.array(np.arange(first, last)), pa.array(texts, pa.large_string())], schema=SCHEMA)


@pytest.fixture
def table(tmp_path):
    tables.create_table(tmp_path, "t", SCHEMA)
    return tables.open_latest(tmp_path, "t")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "t.lance"


def read(folder):
    return read_fragments(list_manifests(folder)[0])


def files_of(folder, *names):
    return {file.name for name in names for file in (folder / name).glob("*")}


def sequences(table):
    return sorted(tables.read_columns(table, ["sequence"])["sequence"].to_pylist())


def test_an_empty_table_has_no_fragments(table, folder):
    assert read(folder) == ()


def test_fragments_rows_and_deletions_are_as_lancedb_counts_them(table, folder):
    for first in range(0, 1200, 300):
        table.add(rows(first, first + 300))
    table.delete("sequence < 350 OR sequence >= 1199")
    fragments = read(folder)
    assert [(f.number, f.num_rows, f.num_deleted) for f in fragments] == [
        (1, 300, 50),
        (2, 300, 0),
        (3, 300, 1),
    ]
    assert sum(f.num_live for f in fragments) == table.count_rows() == 849
    assert {f.deletions for f in fragments} - {""} == {
        file.stem for file in (folder / "_deletions").glob("*") if not file.name.startswith("0-")
    }
    sizes = sorted(file.stat().st_size for file in (folder / "data").glob("*"))
    assert set(sizes) >= {f.size_bytes for f in fragments} - {0}
    assert all(f.size_bytes for f in fragments)


def test_manifests_are_listed_from_the_newest(table, folder):
    for first in range(12):
        table.add(rows(first, first + 1))
    sizes = [len(read_fragments(manifest)) for manifest in list_manifests(folder)]
    assert sizes == [*range(12, -1, -1)]


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b[:10], lambda b: b"", lambda b: b + b"x"])
def test_what_is_no_manifest_is_refused(table, folder, change):
    table.add(rows(0, 10))
    manifest = list_manifests(folder)[0]
    manifest.write_bytes(change(manifest.read_bytes()))
    with pytest.raises(ValueError, match="manifest"):
        read_fragments(manifest)


@pytest.mark.parametrize("named_rows", [100, 0])
def test_rows_written_anew_are_the_same_rows(table, folder, monkeypatch, named_rows):
    monkeypatch.setattr(tables, "NAMED_ROWS", named_rows)
    for first in range(0, 50, 10):
        table.add(rows(first, first + 10))
    table.delete("sequence IN (3, 44)")
    before = {*sequences(table)}
    tables.merge_rows(table, tuple((n << 32, (n << 32) + 10) for n in (0, 1, 4)))
    assert [(f.number, f.num_rows, f.num_deleted) for f in read(folder)] == [
        (2, 10, 0),
        (3, 10, 0),
        (5, 28, 0),
    ]
    assert len(sequences(table)) == len(before)
    assert {*sequences(table)} == before


def test_sweeping_leaves_the_newest_version_whole_and_nothing_else(table, folder):
    for first in range(0, 50, 10):
        table.add(rows(first, first + 10))
    table.delete("sequence IN (3, 44)")
    tables.merge_rows(table, ((0, 10), (1 << 32, (1 << 32) + 10)))
    (folder / "data" / "left by a kill.lance").write_bytes(b"half")
    sweep(folder, timedelta(0))
    assert len(list_manifests(folder)) == 1
    fragments = read(folder)
    assert len(files_of(folder, "data")) == len(fragments) == 4
    assert {name.rpartition(".")[0] for name in files_of(folder, "_deletions")} == {
        f.deletions for f in fragments if f.deletions
    }
    assert len(files_of(folder, "_transactions")) == 1
    assert sequences(table) == [n for n in range(50) if n not in (3, 44)]
    table.add(rows(50, 60))
    assert len(sequences(tables.open_latest(folder.parent, "t"))) == 58


def test_sweeping_keeps_what_was_replaced_a_short_time_ago(table, folder):
    table.add(rows(0, 10))
    pinned = tables.open_pinned(folder.parent, "t")
    table.delete("sequence < 5")
    tables.merge_rows(table, ((0, 10),))
    sweep(folder, timedelta(hours=1))
    assert sequences(pinned) == [*range(10)]
    assert sequences(table) == [*range(5, 10)]
