"""The finder: loaded once, follows the writer, answers many threads with committed versions."""

import io
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from meisho.describing import Describer
from meisho.errors import CollectionError, ConfigError, InputError, MismatchError
from meisho.extractors.local_base import load_local_extractor
from meisho.local_describing import LocalDescriber
from meisho.photos import Box, Photo
from meisho.rerank.base import RERANKERS
from meisho.rerank.chain import build_chain
from meisho.run.finding import Finder
from meisho.run.indexing import IndexOptions, add_photos, index_folder, remove_photos
from meisho.store.collection import Collection
from meisho.store.metadata import INDEX_FOLDER
from run.conftest import paint
from toy_features import Corners, MeanColor


@pytest.fixture
def finder(collection):
    return Finder.open(collection, extractor=MeanColor())


# --- questions


def test_a_photo_of_the_collection_finds_itself_first(finder, photos):
    found = finder.find(photos / "3.png", top=4)
    assert len(found) == 1 and len(found[0]) == 4
    best = found[0][0]
    assert (best.id, best.path) == ("3.png", photos / "3.png")
    assert best.score == pytest.approx(1, abs=1e-6)
    assert (best.num_inliers, best.same_place) == (None, None)
    scores = [answer.score for answer in found[0]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "image", "array", "photo"])
def test_a_query_may_be_whatever_people_have(finder, photos, kind):
    path = photos / "7.png"
    with Image.open(path) as image:
        query = {
            "path": path,
            "text": str(path),
            "bytes": path.read_bytes(),
            "image": image,
            "array": np.asarray(image),
            "photo": Photo("mine", path),
        }[kind]
        assert finder.find(query)[0][0].id == "7.png"


def test_several_queries_get_a_list_each(finder, photos):
    found = finder.find([photos / f"{number}.png" for number in (2, 9, 4)], top=1)
    assert [answers[0].id for answers in found] == ["2.png", "9.png", "4.png"]


def test_a_query_that_is_asked_twice_is_answered_twice(finder, photos):
    found = finder.find([photos / "2.png", photos / "9.png", photos / "2.png"], top=1)
    assert [answers[0].id for answers in found] == ["2.png", "9.png", "2.png"]
    assert found.queries[2].id == f"{photos / '2.png'} (3)"


def test_an_array_that_is_reused_stays_the_query_that_it_was(finder, photos):
    with Image.open(photos / "7.png") as image:
        pixels = np.array(image)
    found = finder.find(pixels, top=1)
    pixels[:] = 0
    assert found.queries[0].content.any()


def test_a_chain_that_is_none_is_refused(finder, photos):
    with pytest.raises(InputError, match="give a text such as"):
        finder.find(photos / "1.png", chain=["dba"])


def test_only_the_box_of_a_query_is_looked_at(finder, photos, tmp_path):
    both = Image.new("RGB", (80, 30))
    both.paste(Image.open(photos / "1.png"), (0, 0))
    both.paste(Image.open(photos / "5.png"), (40, 0))
    both.save(tmp_path / "both.png")
    left = finder.find(Photo("left", tmp_path / "both.png", Box(0, 0, 40, 30)), top=1)
    right = finder.find(Photo("right", tmp_path / "both.png", Box(40, 0, 80, 30)), top=1)
    assert (left[0][0].id, right[0][0].id) == ("1.png", "5.png")


@pytest.mark.parametrize(
    "query", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), 7, b""]
)
def test_what_cannot_be_a_photo_is_refused_by_kind(finder, query):
    with pytest.raises(InputError, match=r"photo 1: cannot be read from .*; give a path"):
        finder.find([query])


def test_a_turned_image_in_memory_is_found_as_its_file_is(finder, photos, describer, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(5).integers(0, 256, (30, 40, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=exif, quality=95)
    as_image = finder.describer.describe(Image.open(io.BytesIO(file.getvalue())))
    as_bytes = finder.describer.describe(file.getvalue())
    np.testing.assert_allclose(as_image.vectors, as_bytes.vectors, atol=1e-6)


def test_a_chain_is_a_text_or_a_chain(finder, photos):
    text = finder.find(photos / "3.png", chain="dba:k=2,alpha-qe:k=2")
    chain = finder.find(photos / "3.png", chain=build_chain("dba:k=2,alpha-qe:k=2"))
    assert [a.id for a in text[0]] == [a.id for a in chain[0]]
    with pytest.raises(ConfigError, match="no reranker is called"):
        finder.find(photos / "3.png", chain="dbb")


def test_verified_answers_say_how_many_inliers(finder, photos):
    answers = finder.find(photos / "3.png", top=3, chain="geometric:first=5")[0]
    assert all(isinstance(answer.num_inliers, int) for answer in answers)
    assert all(answer.same_place is False for answer in answers)  # two corners prove nothing


def test_without_local_features_verification_says_what_to_do(photos, describer, tmp_path):
    index_folder(photos, tmp_path / "plain", describer)
    finder = Finder.open(tmp_path / "plain", extractor=MeanColor())
    with pytest.raises(InputError, match="holds no local features to verify with; run 'meisho index' again"):
        finder.find(photos / "3.png", chain="geometric")


def test_another_model_and_a_missing_collection_are_refused(collection, tmp_path):
    class Other(MeanColor):
        provenance = type(MeanColor.provenance).from_options("other", {})

    with pytest.raises(MismatchError, match="mean_color / other"):
        Finder.open(collection, extractor=Other())
    with pytest.raises(CollectionError, match="meisho index"):
        Finder.open(tmp_path / "nowhere")


def test_its_print_is_short(finder, photos):
    assert "10 photos" in repr(finder)
    assert repr(finder.find(photos / "1.png")).startswith("Found(1 query, up to 10 answers each")


# --- the writer


def test_following_costs_nothing_when_nothing_has_changed(finder):
    state = finder._state
    assert finder.follow() is False
    assert finder._state is state


def test_it_follows_what_is_added_changed_and_removed(finder, collection, photos, describer):
    paint(photos / "new.png", 100)
    add_photos(collection, photos / "new.png", describer)
    assert finder.find(photos / "new.png")[0][0].id != "new.png"  # still the version that it was opened at
    assert finder.follow() is True
    assert finder.find(photos / "new.png")[0][0].id == "new.png"
    remove_photos(collection, "new.png")
    assert finder.follow() is True
    assert "new.png" not in [answer.id for answer in finder.find(photos / "new.png", top=20)[0]]
    assert finder.version == Collection.open(collection).version


def test_tidying_alone_keeps_what_was_computed(finder, collection, photos):
    finder.find(photos / "1.png", chain="dba:k=2")
    kept = finder._state.kept
    assert kept
    with Collection.open(collection).writer() as writer:
        writer.put_records([])
        photos = writer._photos.table
        photos.add(photos.search().limit(1).to_arrow(), mode="append")  # a version more
    assert finder.follow() is False
    assert finder._state.kept is kept


def test_it_follows_a_photo_folder_that_was_moved(finder, collection, photos, describer):
    moved = photos.rename(photos.parent / "elsewhere")
    index_folder(moved, collection, describer, IndexOptions(moved=True))
    finder.follow()
    assert finder.find(moved / "3.png")[0][0].path == moved / "3.png"


def test_a_collection_that_is_gone_is_said_and_the_old_answers_stay(finder, collection, photos):
    shutil.rmtree(collection)
    with pytest.raises(CollectionError):
        finder.follow()
    assert finder.find(photos / "3.png")[0][0].id == "3.png"


def test_local_features_that_come_later_are_followed(photos, describer, tmp_path):
    path = tmp_path / "later"
    index_folder(photos, path, describer)
    finder = Finder.open(path, extractor=MeanColor())
    index_folder(photos, path, describer, IndexOptions(local=LocalDescriber(Corners(), num_workers=0)))
    finder.follow()
    assert finder.find(photos / "3.png", chain="geometric:first=3")[0][0].num_inliers is not None


def test_local_features_of_single_photos_that_come_later_are_followed(collection, photos, describer):
    from meisho.store.writer import CollectionWriter

    finder = Finder.open(collection, extractor=MeanColor())
    paint(photos / "late.png", 500)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            CollectionWriter, "add_local_features", lambda *_: None
        )  # as a kill before the second pass
        add_photos(collection, photos / "late.png", describer)
    finder.follow()
    first = finder.find(photos / "late.png", top=1, chain="geometric:first=1")
    assert first[0][0].num_inliers == 0
    add_photos(collection, photos / "late.png", describer)  # the second pass alone
    finder.follow()
    again = finder.find(photos / "late.png", top=1, chain="geometric:first=1")
    assert len(again.compare(0)[0].database_features) == 2


def test_another_collection_at_the_same_place_is_not_taken_for_the_old_one(collection, photos, describer):
    finder = Finder.open(collection, extractor=MeanColor())
    before = finder.version
    shutil.rmtree(collection)
    for seed in range(10):
        paint(photos / f"{seed}.png", 1000 + seed)
    index_folder(photos, collection, describer)
    assert Collection.open(collection).version == before
    assert finder.follow() is True
    assert finder.find(photos / "3.png")[0][0].score == pytest.approx(1, abs=1e-6)


@pytest.fixture
def sift_collection(photos, describer):
    """A collection with real local features, and a textured photo whose file stands for a query."""
    pixels = np.random.default_rng(1).integers(0, 256, (30, 40, 3), np.uint8)
    query = photos.parent / "query.png"
    Image.fromarray(np.kron(pixels, np.ones((8, 8, 1), np.uint8))).save(query)
    path = photos.parent / "sift.meisho"
    local = LocalDescriber(load_local_extractor("sift", max_keypoints=300), num_workers=0)
    index_folder(photos, path, describer, IndexOptions(local=local))
    return path, query


def test_a_photo_that_changed_since_the_finder_s_version_lends_it_no_features(
    sift_collection, photos, describer
):
    path, query = sift_collection
    plain = (photos / "3.png").read_bytes()
    finder = Finder.open(path, extractor=MeanColor())
    shutil.copy(query, photos / "3.png")
    add_photos(path, photos / "3.png", describer)
    answers = {a.id: a for a in finder.find(query, top=10, chain="geometric")[0]}
    assert answers["3.png"].num_inliers == 0
    (photos / "3.png").write_bytes(plain)
    add_photos(path, photos / "3.png", describer)
    finder.follow()
    answers = {a.id: a for a in finder.find(query, top=10, chain="geometric")[0]}
    assert answers["3.png"].num_inliers == 0
    shutil.copy(query, photos / "3.png")
    add_photos(path, photos / "3.png", describer)
    finder.follow()
    answers = {a.id: a for a in finder.find(query, top=10, chain="geometric")[0]}
    assert answers["3.png"].num_inliers > 100


def test_pairs_of_other_local_features_are_not_remembered(sift_collection, photos, describer):
    path, query = sift_collection
    shutil.copy(query, photos / "3.png")
    add_photos(path, photos / "3.png", describer)
    finder = Finder.open(path, extractor=MeanColor())
    before = {a.id: a.num_inliers for a in finder.find(query, top=10, chain="geometric")[0]}
    shutil.rmtree(path)
    local = LocalDescriber(load_local_extractor("sift", max_keypoints=20), num_workers=0)
    index_folder(photos, path, describer, IndexOptions(local=local))
    finder.follow()
    after = {a.id: a.num_inliers for a in finder.find(query, top=10, chain="geometric")[0]}
    assert before["3.png"] > 20 >= after["3.png"] > 0


def test_photos_without_features_count_as_verified(finder, photos, monkeypatch):
    from meisho.stored_features import StoredFeatures

    monkeypatch.setattr(StoredFeatures, "read", lambda self, rows: [self._none] * len(rows))
    found = finder.find(photos / "3.png", chain="geometric,alpha-qe:verified_only=5")
    assert found[0][0].id == "3.png"


def test_twenty_threads_ask_while_a_writer_adds_and_removes(collection, photos, describer):
    """Every answer is that of one committed version: all of a batch that came together, or none of it."""
    finder = Finder.open(collection, extractor=MeanColor())
    batch = [paint(photos / f"extra_{number}.png", 200 + number) for number in range(4)]
    names = {path.name for path in batch}
    seen, together = {}, threading.Barrier(21)  # a few questions for every change, all at once

    def write():
        for _ in range(3):
            together.wait()
            add_photos(collection, batch, describer)
            finder.follow()
            together.wait()
            remove_photos(collection, [path.name for path in batch])
            finder.follow()

    def ask(number):
        for question in range(18):
            if question % 3 == 0:
                together.wait()
            found = finder.find(photos / f"{number % 10}.png", top=50)
            ids = [answer.id for answer in found[0]]
            assert ids[0] == f"{number % 10}.png"
            assert len(ids) in (10, 14) and names & {*ids} in (set(), names)
            seen.setdefault(found.version, set()).add(frozenset(ids))

    def ended(work, *arguments):
        try:
            work(*arguments)
        except BaseException:
            together.abort()  # or the others would wait for ever
            raise

    with ThreadPoolExecutor(21) as pool:
        jobs = [pool.submit(ended, write), *(pool.submit(ended, ask, number) for number in range(20))]
        errors = [error for job in jobs if (error := job.exception())]
    assert [error for error in errors if not isinstance(error, threading.BrokenBarrierError)] == []
    assert len(seen) > 1 and all(len(answers) == 1 for answers in seen.values())


# --- what is kept


def test_what_rerankers_compute_of_the_database_is_computed_once(finder, photos, monkeypatch):
    import meisho.rerank.augmentation as augmentation

    calls, augment = [], augmentation.augment_database
    count = lambda *a, **o: (calls.append(1), augment(*a, **o))[1]  # noqa: E731
    monkeypatch.setattr(augmentation, "augment_database", count)
    first = finder.find(photos / "3.png", chain="dba:k=3,k-reciprocal")
    second = finder.find(photos / "3.png", chain="dba:k=3,k-reciprocal")
    assert calls == [1]
    np.testing.assert_array_equal(first.ranking.ranks, second.ranking.ranks)
    np.testing.assert_allclose(first.ranking.scores, second.ranking.scores)


def test_what_is_kept_is_bounded(collection, photos):
    finder = Finder.open(collection, extractor=MeanColor(), keep_bytes=0)
    before = finder.find(photos / "3.png", chain="dba:k=3")
    assert finder._state.kept == {}
    after = finder.find(photos / "3.png", chain="dba:k=3")
    np.testing.assert_array_equal(before.ranking.ranks, after.ranking.ranks)


def test_no_pair_is_verified_twice_even_in_another_version(
    finder, collection, photos, describer, monkeypatch
):
    import meisho.rerank.geometric as geometric

    pairs, verify_many = [], geometric.verify_many
    monkeypatch.setattr(
        geometric, "verify_many", lambda p, *a, **o: (pairs.extend(p), verify_many(p, *a, **o))[1]
    )
    first = finder.find(photos / "3.png", top=5, chain="geometric:first=5")
    assert len(pairs) == 5
    assert [pair.verification.num_inliers for pair in first.compare(0)] == [
        answer.num_inliers for answer in first[0]
    ]
    finder.find([photos / "3.png"], top=5, chain="geometric:first=5")
    add_photos(collection, paint(photos / "zebra.png", 321), describer)
    finder.follow()
    finder.find([photos / "3.png"], top=5, chain="geometric:first=5")
    assert len(pairs) <= 6  # the photo that is new, if it is among the first


def test_an_inverted_file_is_built_once(finder, photos, monkeypatch):
    from meisho.rerank.asmk import AsmkReranker

    built, build = [], AsmkReranker._build
    monkeypatch.setattr(AsmkReranker, "_build", lambda *a: (built.append(1), build(*a))[1])
    for _ in range(3):
        finder.find(photos / "3.png", chain="asmk:words=4")
    assert built == [1]


@pytest.mark.parametrize("name", [name for name in RERANKERS if name != "asmk"])
def test_every_reranker_answers_again_as_it_did_first(finder, photos, name):
    first, second = (finder.find(photos / "3.png", chain=name) for _ in range(2))
    np.testing.assert_array_equal(first.ranking.ranks, second.ranking.ranks)
    np.testing.assert_allclose(first.ranking.scores, second.ranking.scores, atol=1e-6)


# --- without LanceDB


def test_a_question_imports_neither_lancedb_nor_torch(collection, photos):
    code = f"""if True:
        import sys
        from meisho.run.finding import Finder
        from toy_features import MeanColor
        finder = Finder.open({str(collection)!r}, extractor=MeanColor())
        assert finder.find({str(photos / "3.png")!r}, chain="dba,alpha-qe")[0]
        print([name for name in ("lancedb", "pyarrow", "torch", "timm", "faiss") if name in sys.modules])
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="tests")
    assert (result.returncode, result.stdout.strip()) == (0, "[]"), result.stderr


def test_the_saved_snapshot_says_what_the_tables_say(collection, finder):
    snapshot = Collection.open(collection).snapshot()
    mine = finder._state.snapshot
    assert isinstance(mine.descriptors.vectors.base, np.memmap) or mine.descriptors.vectors.base is not None
    np.testing.assert_array_equal(mine.descriptors.vectors, snapshot.descriptors.vectors)
    np.testing.assert_array_equal(mine.keys, snapshot.keys)
    assert mine.descriptors.ids == snapshot.descriptors.ids
    assert (mine.version, mine.files) == (snapshot.version, snapshot.files)


@pytest.mark.parametrize("damage", ["delete", "cut", "flip", "other record", "no record", "deep"])
@pytest.mark.parametrize("part", ["snapshot.json", "rows-*.bin", "names-*.bin", "vectors-*.bin"])
def test_a_damaged_snapshot_is_noticed_and_the_tables_are_read(collection, photos, caplog, part, damage):
    path = next((collection / INDEX_FOLDER).glob(part))
    content = path.read_bytes()
    if damage == "delete":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        middle = len(content) - 3
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        path.write_bytes({"other record": b"{}", "no record": b"", "deep": b"[" * 100_000}[damage])
    finder = Finder.open(collection, extractor=MeanColor())
    assert finder.find(photos / "3.png")[0][0].id == "3.png"
    assert len(finder) == 10


def test_damaged_vectors_are_mended_by_the_next_indexing(collection, photos, describer, caplog):
    path = next((collection / INDEX_FOLDER).glob("vectors-*.bin"))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    index_folder(photos, collection, describer)
    assert next((collection / INDEX_FOLDER).glob("vectors-*.bin")).read_bytes() == content
    caplog.clear()
    Finder.open(collection, extractor=MeanColor())
    assert caplog.records == []


def test_a_killed_indexing_leaves_no_old_answer(collection, photos, describer, monkeypatch):
    """The snapshot is saved at the end: what was committed before is read from the tables."""
    import meisho.run.refreshing as refreshing

    paint(photos / "late.png", 77)
    monkeypatch.setattr(
        refreshing, "save_snapshot", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        add_photos(collection, photos / "late.png", describer)
    finder = Finder.open(collection, extractor=MeanColor())
    assert finder.find(photos / "late.png")[0][0].id == "late.png"


def test_the_model_of_the_collection_is_loaded_when_none_is_given(photos, tmp_path):
    import meisho

    index_folder(photos, tmp_path / "c", Describer(meisho.load_extractor(), num_workers=0))
    finder = Finder.open(tmp_path / "c", device="cpu")
    assert finder.find(photos / "3.png")[0][0].id == "3.png"
    assert load_local_extractor("sift").dim == 128
