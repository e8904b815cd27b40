"""A sound file of every kind that meisho reads and anybody may have written, and how it is read.

A new reader is one line in `READERS`; `test_readers.py` spoils each file and asks for one plain error.
"""

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import onnx
import safetensors.numpy
import torch
from onnx import TensorProto, helper
from PIL import Image

from meisho.arrays import read_only
from meisho.asmk.aggregation import Aggregated
from meisho.asmk.codebook import Codebook
from meisho.asmk.inverted_file import InvertedFile
from meisho.cli.evaluate import _settings
from meisho.config import load_config
from meisho.contest.bundle import check_free, read_bundle_list
from meisho.datasets.csv_table import load_csv_table
from meisho.datasets.gldv2 import load_gldv2, load_recognition_solution
from meisho.datasets.labels import load_labels, read_labels, read_landmarks
from meisho.datasets.oxford5k import load_oxford5k
from meisho.datasets.revisitop import load_ground_truth
from meisho.datasets.safe_pickle import load_plain_pickle
from meisho.descriptors import Provenance
from meisho.engines.milvus import LiveMilvus, MilvusRecord
from meisho.engines.milvus import _load as load_milvus
from meisho.engines.milvus_place import MilvusPlace
from meisho.engines.milvus_table import MilvusTable
from meisho.evaluate.report import load_report
from meisho.extractors.checkpoint import remove_whitening
from meisho.extractors.local_checkpoint import find_local
from meisho.extractors.onnx_file import OnnxFile
from meisho.extractors.options import TimmGeMOptions
from meisho.extractors.published.files import read_published
from meisho.extractors.state_file import read_state_file
from meisho.extractors.weights import read_state_dict
from meisho.fetching.archives import Member
from meisho.fetching.getting import _read_md5
from meisho.fetching.manifest import DataFile, read_manifest
from meisho.fetching.partial import Digests, Origin, PartialFile
from meisho.fetching.record import Record
from meisho.fetching.selection import read_ids_of_classes
from meisho.index.exact import ExactIndex
from meisho.index.graph import NeighborGraph
from meisho.index.graph_files import load_graph, save_graph
from meisho.index.keys import digest_keys
from meisho.index.live import LiveIndex
from meisho.photos import Photo
from meisho.run.grouping import Duplicates, Place, Places, read_places
from meisho.run.kept_queries import _digest, _read, _write
from meisho.run.pair_file import PAIR, PairFile
from meisho.sealed import write_sealed
from meisho.store.commits import check_commits
from meisho.store.locks import _read_owner
from meisho.store.metadata import Metadata, read_metadata, write_metadata
from meisho.store.snapshot import PhotoRows
from meisho.store.snapshot_files import holds_snapshot, load_snapshot, read_saved_files, save_snapshot
from meisho.submission import read_query_ids, read_submission
from meisho.toycity.records import (
    DRAWING,
    CameraRecord,
    FacadePlane,
    GradeRecord,
    Parameters,
    PhotoRecord,
    Records,
    SiteRecord,
    read_records,
    write_records,
)
from meisho.training.averaging import _best_epoch, _found
from meisho.training.averaging import _read_note as read_average_note
from meisho.training.photo_cache import CachedPhotos, CacheOptions, fill_cache, read_entries
from meisho.training.recipe import load_recipe
from meisho.training.skipped import SkippedPhotos
from meisho.training.state import Position, RunState, load_state, save_state, save_tensors, saved_step
from meisho.training.train import _read_facts
from meisho.training.whiten import _read_note
from meisho.whitening import Whitening


@dataclasses.dataclass(frozen=True)
class Settings:
    name: str
    rate: float = 0.1
    sizes: tuple[int, ...] = (1,)


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
LOCAL = {"local_extractor": "delg", "options": {}}
BUNDLE = {
    "models": [{"checkpoint": "weights/1", "whitening": None}],
    "rerank": None,
    "local": "sift",
    "files": ["bundle.json"],
}
REPORT = {
    "format": 1,
    "dataset": "x",
    "protocol": "retrieval",
    "provenance": {"extractor": "x", "options": "{}", "weights_sha256": "0"},
    "ground_truth_sha256": "0",
    "queries_cropped": False,
    "num_database": 1,
    "num_queries": 1,
    "figures": [{"metric": "mAP", "setup": "all", "value": 0.5, "low": 0.4, "high": None, "num_queries": 1}],
    "query_scores": [{"query_id": "q", "setup": "all", "average_precision": 0.5, "num_positives": 1}],
}
ORIGIN = Provenance("x", "{}", "0")
STATE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)}
COMMIT = "18446744073709551614.manifest"


def dump(value):
    return lambda path: path.write_text(json.dumps(value))


def text(content):
    return lambda path: path.write_text(content)


def among(content, **others):
    """Write a text, and beside it what it is read together with."""

    def write(path):
        path.write_text(content)
        for name, beside in others.items():
            (path.parent / name.replace("__", ".")).write_text(beside)

    return write


def write_pickle(path):
    path.write_bytes(pickle.dumps(TRUTH))


def write_old_state(path):
    torch.save(STATE, path, _use_new_zipfile_serialization=False)


def write_published(path):
    """Write what cirtorch does: facts, weights, and a whitening in NumPy's arrays."""
    whitening = {kind: {"m": np.zeros((2, 1)), "P": np.eye(2)} for kind in ("ss", "ms")}
    meta = {"architecture": "resnet18", "pooling": "gem", "Lw": {"retrieval-SfM-120k": whitening}}
    torch.save({"meta": meta, "state_dict": STATE, "min_loss": np.float64(0.5)}, path)


def write_published_folder(path):
    path.write_text(json.dumps({"architecture": "test_resnet"}))
    safetensors.numpy.save_file({"a": np.eye(3, dtype=np.float32)}, path.with_name("model.safetensors"))


def write_collection(path):
    write_metadata(path.parent, Metadata(Path("/p"), ORIGIN, 8))
    (path.parent / "collection-copy.json").unlink()


def write_whitening(path):
    Whitening(np.zeros(3), np.eye(3), "pca", ORIGIN).save(path)


def write_inverted(path):
    codebook = Codebook(np.eye(3, dtype=np.float32))
    values = np.eye(3, dtype=np.float32)
    part = Aggregated(np.array([0, 1, 1]), np.array([0, 1, 2]), values)
    InvertedFile.build([part], [2], codebook).save(path, about="toy")


def write_onnx(path):
    """Write a network that gives an image's mean colour, with all that an exported file says of itself."""
    ends = [
        helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "height", "width"]),
        helper.make_tensor_value_info("descriptors", TensorProto.FLOAT, ["batch", 3]),
    ]
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["means"]),
        helper.make_node("Flatten", ["means"], ["descriptors"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "toy", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    options = dataclasses.asdict(TimmGeMOptions(weights=".onnx"))
    facts = {"model": "timm:toy", "options": json.dumps(options), "weights_sha256": "0", "dim": "3"}
    helper.set_model_props(model, facts)
    onnx.save(model, path)


def describe_one(path):
    OnnxFile(path).extract(np.zeros((1, 40, 40, 3), np.uint8))


def make_state():
    network = torch.nn.Linear(2, 1)
    return RunState({"network": network}, torch.optim.AdamW(network.parameters()))


def write_state(path):
    state = make_state()
    save_tensors(path.parent, state, Position(step=3))
    save_state(path.parent, state, Position(step=3))


def write_toycity(path):
    rotation = tuple(map(tuple, np.eye(3).tolist()))
    camera = CameraRecord(8, 6, 5.0, (4.0, 3.0), rotation, (0.0, 0.0, 0.0))
    plane = FacadePlane(1, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    site = SiteRecord("s", "brick", 0, (0.0, 0.0, 0.0), (plane,))
    photos = tuple(
        PhotoRecord(role, role, "s", 0, camera, "sun", "plain", False, 0.5, (0.0, 0.0, 2.0, 2.0))
        for role in ("database", "query")
    )
    grade = GradeRecord("query", "database", "easy", 0.5, 3.0, 1.0)
    write_records(Records(Parameters(1, 1, 0, 0, DRAWING), (site,), photos, (grade,)), path.parent)


def write_record(path):
    record = Record(path.parents[1], "street")
    record.select(["a.tgz"])
    record.add("a.tgz", Digests(3, "0" * 64), "by hand")
    record.add_members("a.tgz", (Member("b.jpg", 3, "0" * 64),), None)


def write_partial(path):
    place = path.with_name(path.name.removesuffix(".part.json"))
    with PartialFile(place) as partial:
        partial.append(b"half")
        partial.remember(Origin("https://example.org/a", "x", 8))


def read_partial(path):
    with PartialFile(path.with_name(path.name.removesuffix(".part.json"))) as partial:
        assert partial.offset == 4


def write_snapshot(path):
    keys, vectors = read_only([5, 3, 4], np.uint64), np.eye(3, 2, dtype=np.float32)

    def read_vectors(sequences):
        yield np.arange(len(sequences)), vectors[: len(sequences)]

    for photos in (("a", "b", "c"), ("a", "c")):  # one went: the second leaves an order
        rows = [("a", "b", "c").index(name) for name in photos]
        listed = PhotoRows(photos, photos, keys[rows], np.array([7, 7, 8])[rows], 3)
        save_snapshot(path.parent, COMMIT, listed, read_vectors, provenance=ORIGIN, dim=2)


def read_snapshot(path):
    load_snapshot(path.parent, COMMIT, ORIGIN, 2)
    holds_snapshot(path.parent, COMMIT)
    read_saved_files(path.parent)


def write_places(path):
    place, copies = Place("a", "b", ("b", "c"), ("d",)), Duplicates("e", "near", ("b", "d"))
    places = Places("2026-11-28T14:00:00+00:00", 1, True, (place,), (copies,))
    write_sealed(path, dataclasses.asdict(places))


def write_pairs(path):
    file = PairFile(path, "how")
    for key in (1, 2):
        file.append(np.array([(key, 3, 40, 20, 0.5, 0.5, 0.1, 0)], PAIR))


def write_index(path):
    keys = np.arange(5, dtype=np.uint64)
    LiveIndex.build("exact", np.eye(5, dtype=np.float32), keys, 3).save(path.parent)


def write_engine(path):
    place, keys = MilvusPlace.parse("http://127.0.0.1:9"), np.arange(5, dtype=np.uint64)
    record = MilvusRecord(place.text, "t", "", 3, len(keys), len(keys), 4, digest_keys(keys))
    LiveMilvus(record, keys, MilvusTable(place, "t")).save(path.parent)


def write_graph(path):
    vectors = np.eye(5, dtype=np.float32)
    graph = NeighborGraph.build(ExactIndex.build(vectors), vectors, np.arange(5, dtype=np.uint64), k=2)
    save_graph(graph, path.parent)


def write_queries(path):
    _write(path, [_digest("a")], np.ones((1, 3), np.float32), ORIGIN)


def write_cache(path):
    photo = path.with_name("photo.png")
    Image.new("RGB", (8, 8)).save(photo)
    assert [*fill_cache(path.parent, cached(path), CacheOptions(), num_workers=0)] == [None]


def cached(path):
    return [Photo("photo.png", path.with_name("photo.png"))]


def read_cache(path):
    read_entries(path.parent)
    photos = CachedPhotos(path.parent, CacheOptions())
    photos.load(cached(path)[0], photos.find(cached(path))[0])


def write_gldv2(path):
    write = among("id\naaa1\naaa2\n", retrieval_solution_v2__csv="id,images,Usage\nbbb1,aaa1,Public\n")
    write(path.with_name("index.csv"))


OXFORD = {"x_1_good__txt": "a\n", "x_1_ok__txt": "b\n", "x_1_junk__txt": ""}
CHECKPOINT = {"backbone": "test_resnet", "options": {"p": 3.0}}
RECIPE = '[data]\ndataset = "folder"\nroot = "photos"\n[head]\noptions = { scale = 30.0 }\n'
SKIPPED = "path,reason\nphotos/a.jpg,it is empty\n"
AVERAGE = {
    "asked": {"epochs": [1, 2], "shares": [0.5]},
    "whole": True,
    "found": {"share": 0.5, "trained": "last", "map": 0.5},
}


def read_average(path):
    done = read_average_note(path)
    return _best_epoch(done), done.flag("whole"), _found(done)


READERS = {
    # "module", or "module: what": (file, how a sound one is written, how it is read); a * stands for a digest
    "asmk/codebook.py": (
        "c.npz",
        lambda path: Codebook(np.eye(3, dtype=np.float32)).save(path),
        Codebook.load,
    ),
    "asmk/inverted_file.py": ("i.npz", write_inverted, InvertedFile.load),
    "cli/evaluate.py": (
        "e.toml",
        text('dataset = "folder"\nroot = "photos"\noptions = { p = 3.0 }\n'),
        lambda path: _settings(path, {}, {"max_side_px": 64}, [], sweep=False),
    ),
    "config.py": (
        "r.toml",
        text('name = "a"\nrate = 0.5\nsizes = [1, 2]\n'),
        lambda path: load_config(path, Settings),
    ),
    "contest/bundle.py": ("bundle.json", dump(BUNDLE), lambda path: read_bundle_list(path.parent)),
    "contest/bundle.py: files": (
        "bundle.json",
        dump(BUNDLE),
        lambda path: check_free(path.parent, overwrite=True),
    ),
    "datasets/csv_table.py": (
        "t.csv",
        among("query,positives,x0,y0,x1,y1\nq.jpg,a.jpg,1,2,3,4\n", q__jpg="q", a__jpg="a"),
        load_csv_table,
    ),
    "datasets/csv_table.py: photos": (
        "t.csv",
        among("file,label,role\nq.jpg,x,query\na.jpg,x,database\n", q__jpg="q", a__jpg="a"),
        load_csv_table,
    ),
    "datasets/gldv2.py": ("index.csv", write_gldv2, lambda path: load_gldv2(path.parent)),
    "datasets/gldv2.py: retrieval": (
        "retrieval_solution_v2.csv",
        write_gldv2,
        lambda path: load_gldv2(path.parent),
    ),
    "datasets/gldv2.py: recognition": (
        "r.csv",
        text("id,landmarks,Usage\nbbb1,1 2,Private\n"),
        load_recognition_solution,
    ),
    "datasets/labels.py": ("l.csv", text("file,label\na.jpg,x\nb.jpg,x\n"), read_labels),
    "datasets/labels.py: gldv2_train": (
        "train.csv",
        text("id,landmark_id,url\naaa1,1,u\naaa2,1,u\n"),
        lambda path: load_labels("gldv2_train", path.parent),
    ),
    "datasets/labels.py: gldv2_clean": (
        "train_clean.csv",
        text("landmark_id,images\n1,aaa1 aaa2\n2,bbb1\n"),
        lambda path: load_labels("gldv2_clean", path.parent),
    ),
    "datasets/labels.py: landmarks": ("n.txt", text("landmark_id\n1\n2\n"), read_landmarks),
    "datasets/oxford5k.py": (
        "x_1_query.txt",
        among("oxc1_a 1 2 3 4\n", **OXFORD),
        lambda path: load_oxford5k(path.parent),
    ),
    "datasets/oxford5k.py: names": (
        "x_1_good.txt",
        among("a\n", x_1_query__txt="oxc1_a 1 2 3 4\n", x_1_ok__txt="", x_1_junk__txt=""),
        lambda path: load_oxford5k(path.parent),
    ),
    "datasets/revisitop.py": ("g.pkl", write_pickle, load_ground_truth),
    "datasets/safe_pickle.py": ("p.pkl", write_pickle, load_plain_pickle),
    "evaluate/report.py": ("report.json", dump(REPORT), load_report),
    "extractors/checkpoint.py": (
        "model.json",
        dump(CHECKPOINT),
        lambda path: remove_whitening(path.parent),
    ),
    "extractors/local_checkpoint.py": (
        "local.json",
        dump(LOCAL),
        lambda path: find_local(str(path.parent), {}, ["delg"]),
    ),
    "extractors/onnx_file.py": ("m.onnx", write_onnx, describe_one),
    "extractors/published/files.py": ("m.pth", write_published, read_published),
    "extractors/published/files.py: folder": (
        "config.json",
        write_published_folder,
        lambda path: read_published(path.parent),
    ),
    "extractors/state_file.py": ("s.pth", write_old_state, read_state_file),
    "extractors/weights.py: safetensors": (
        "w.safetensors",
        lambda path: safetensors.numpy.save_file({"a": np.eye(3, dtype=np.float32)}, path),
        read_state_dict,
    ),
    "extractors/weights.py: checkpoint": ("w.pth", lambda path: torch.save(STATE, path), read_state_dict),
    "extractors/weights.py: old checkpoint": ("w.pth", write_old_state, read_state_dict),
    "fetching/getting.py": (
        "md5.a.txt",
        text(f"{'0' * 32}  a.tgz\n"),
        lambda path: _read_md5(path, DataFile("a.tgz", ("https://example.org/a",), size_bytes=3)),
    ),
    "fetching/manifest.py": ("m.json", dump(MANIFEST), read_manifest),
    "fetching/partial.py": ("a.tgz.part.json", write_partial, read_partial),
    "fetching/record.py": (
        ".fetched/record.json",
        write_record,
        lambda path: Record(path.parents[1], "street"),
    ),
    "fetching/record.py: members": (
        ".fetched/members/a.tgz.tsv",
        lambda path: write_record(path.parent),
        lambda path: Record(path.parents[2], "street").members("a.tgz"),
    ),
    "fetching/selection.py": (
        "train.csv",
        text("id,landmark_id,url\naaa1,1,u\naaa2,1,u\n"),
        lambda path: read_ids_of_classes(path, ("1",)),
    ),
    "engines/milvus.py": ("engine.json", write_engine, lambda path: load_milvus(path.parent)),
    "engines/milvus.py: keys": ("*.keys", write_engine, lambda path: load_milvus(path.parent)),
    "index/graph_files.py": ("graph.json", write_graph, lambda path: load_graph(path.parent)),
    "index/graph_files.py: lists": ("graph-*.lists", write_graph, lambda path: load_graph(path.parent)),
    "index/live.py": ("index.json", write_index, lambda path: LiveIndex.load(path.parent)),
    "index/live.py: keys": ("*.keys", write_index, lambda path: LiveIndex.load(path.parent)),
    "index/live.py: structure": ("*.structure", write_index, lambda path: LiveIndex.load(path.parent)),
    "run/grouping.py": ("places.json", write_places, read_places),
    "run/pair_file.py": ("verified.pairs", write_pairs, lambda path: PairFile(path, "how").read()),
    "run/kept_queries.py": ("queries.safetensors", write_queries, lambda path: _read(path, ORIGIN, 3)),
    "store/commits.py": (
        "commits.json",
        lambda path: write_sealed(path, {"photos.lance/a": "0"}),
        lambda path: check_commits(path.parent, "photos"),
    ),
    "store/locks.py": ("writer.json", dump({"pid": 3, "host": "a"}), lambda path: _read_owner(path.parent)),
    "store/metadata.py": ("collection.json", write_collection, lambda path: read_metadata(path.parent)),
    "store/snapshot_record.py": ("snapshot.json", write_snapshot, read_snapshot),
    "store/snapshot_files.py: rows": ("rows-*.bin", write_snapshot, read_snapshot),
    "store/snapshot_files.py: names": ("names-*.bin", write_snapshot, read_snapshot),
    "store/snapshot_files.py: order": ("order-*.bin", write_snapshot, read_snapshot),
    "store/snapshot_files.py: vectors": ("vectors-*.bin", write_snapshot, read_snapshot),
    "submission.py": ("sample.csv", text("id,images\naaa1,\n"), read_query_ids),
    "submission.py: answers": (
        "s.csv",
        text("id,images\nbbb1,aaa1\n"),
        lambda path: read_submission(path, ["aaa1"]),
    ),
    "toycity/records.py": ("toycity.json", write_toycity, lambda path: read_records(path.parent)),
    "training/averaging.py": ("average.json", dump(AVERAGE), read_average),
    "training/photo_cache.py": ("photos.idx", write_cache, read_cache),
    "training/photo_cache.py: pixels": ("photos.bin", write_cache, read_cache),
    "training/recipe.py": ("r.toml", text(RECIPE), load_recipe),
    "training/skipped.py": (
        "skipped.csv",
        text(SKIPPED),
        lambda path: SkippedPhotos(path.parent, 9, find_all="", say=print).resume(),
    ),
    "training/state.py": ("state.json", write_state, lambda path: load_state(path.parent, make_state())),
    "training/state.py: tensors": (
        "state-*.safetensors",
        write_state,
        lambda path: load_state(path.parent, make_state()),
    ),
    "training/state.py: step": ("state/state.json", write_state, lambda path: saved_step(path.parents[1])),
    "training/train.py": ("run.json", dump({"starts": []}), lambda path: _read_facts(path.parent)),
    "training/whiten.py": ("whitening.json", dump({"asked": {}, "map": 0.5}), _read_note),
    "whitening.py": ("w.safetensors", write_whitening, Whitening.load),
}
