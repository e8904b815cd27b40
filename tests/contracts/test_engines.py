"""One suite for every engine, and for the template in the docstring of base.py."""

import shutil
import textwrap
import threading

import numpy as np
import pytest

import meisho.engines.base
import meisho.engines.milvus as milvus_module
from meisho.engines.base import ENGINES, PhotoVectors, open_engine
from meisho.errors import ConfigError, OutOfStepError, UnreachableError
from meisho.index.exact import ExactIndex
from meisho.index.live import LiveIndex
from meisho.sealed import read_sealed, write_sealed
from milvus_servers import milvus_server
from processes import wait_until

NUM_ROWS, DIM = 1600, 24
LITE = [f"lite {kind}" for kind in ("FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8")]
SERVER = [f"server {kind}" for kind in ("FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8", "IVF_PQ")]
HERE = ["template", *(ENGINES.keys() - {"milvus"})]
EVERY = [*HERE, *LITE, *(pytest.param(name, marks=pytest.mark.slow) for name in SERVER)]


def make_vectors(seed=0, num_rows=NUM_ROWS):
    generator = np.random.default_rng(seed)
    centres = np.repeat(generator.standard_normal((-(-num_rows // 10), DIM)), 10, axis=0)[:num_rows]
    vectors = centres + 0.3 * generator.standard_normal((num_rows, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS = make_vectors()
KEYS = np.random.default_rng(1).integers(0, 2**64, NUM_ROWS, np.uint64, endpoint=False)
QUERIES = VECTORS[::100] + np.float32(0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with milvus_server(tmp_path_factory.mktemp("milvus")) as server:
        yield server


@pytest.fixture(scope="module")
def lite_file(tmp_path_factory):
    pytest.importorskip("pymilvus")
    pytest.importorskip("milvus_lite")
    return tmp_path_factory.mktemp("lite") / "vectors.db"


@pytest.fixture
def make_engine(request):
    """Makes the engine of a name such as "lite FLAT"; another of the same name is another process's."""

    def make(name):
        if name == "template":
            names = {"LiveIndex": LiveIndex}
            exec(textwrap.dedent(meisho.engines.base.__doc__.partition("::\n")[2]), names)
            return names["MyEngine"]("")
        where, _, kind = name.partition(" ")
        if not kind:
            return open_engine(name)
        lite = where == "lite"
        place = request.getfixturevalue("lite_file") if lite else request.getfixturevalue("server").uri
        return open_engine(f"milvus:{place}?index={kind}&timeout=600")

    return make


@pytest.fixture(params=[*HERE, *LITE[:2], pytest.param(SERVER[0], marks=pytest.mark.slow)])
def name(request):
    return request.param


@pytest.fixture
def engine(name, make_engine):
    return make_engine(name)


@pytest.fixture
def milvus(name, engine):
    if name.partition(" ")[2] == "":
        pytest.skip("this engine is in this process")
    return engine


def take(rows, version=1):
    return PhotoVectors(VECTORS[rows], KEYS[rows], version)


def search(live, photos, top=10, queries=QUERIES):
    return live.follow(photos.vectors, photos.keys, photos.version).search(queries, top)


def assert_good(name, found, photos, top=10, queries=QUERIES):
    """What was found is ordered as exact search orders it; nothing is missed where each row is compared."""
    rows, scores = found
    expected, expected_scores = ExactIndex.build(photos.vectors).search(queries, top)
    if name in ("template", "local") or name.endswith(" FLAT"):
        np.testing.assert_array_equal(rows, expected)
        np.testing.assert_array_equal(scores, expected_scores)
        return
    shares = [len({*one} & {*other}) / len(other) for one, other in zip(rows, expected, strict=True)]
    assert np.mean(shares) >= 0.95
    for row in range(len(rows)):
        same = expected[row] == rows[row]
        np.testing.assert_array_equal(scores[row][same], expected_scores[row][same])
    assert ((scores[:, :-1] > scores[:, 1:]) | (rows[:, :-1] < rows[:, 1:])).all()


@pytest.mark.parametrize("name", EVERY, indirect=True)
def test_it_finds_what_exact_search_finds(name, engine, tmp_path):
    engine.check()
    photos = take(slice(None))
    live = engine.refresh(tmp_path, photos)
    assert_good(name, search(live, photos), photos)
    assert_good(name, search(live, photos, 1), photos, 1)
    assert_good(name, search(live, photos, 200), photos, 200)
    for query in QUERIES[:3]:
        assert_good(name, search(live, photos, 10, query[None]), photos, 10, query[None])
    np.testing.assert_array_equal(
        search(live, photos, NUM_ROWS + 5)[0], ExactIndex.build(VECTORS).search(QUERIES, NUM_ROWS)[0]
    )


def test_it_is_the_same_when_it_is_opened_again(name, engine, make_engine, tmp_path):
    photos = take(slice(0, 700))
    live = engine.refresh(tmp_path, photos)
    again = make_engine(name).load(tmp_path)
    if name == "template":
        assert again is None
        return
    assert (again.kind, again.version) == (live.kind, live.version)
    np.testing.assert_array_equal(search(again, photos)[0], search(live, photos)[0])
    assert make_engine(name).load(tmp_path / "elsewhere") is None


def test_rows_that_came_are_found_and_rows_that_went_are_not(name, engine, make_engine, tmp_path):
    engine.refresh(tmp_path, take(slice(0, 1000)))
    live = make_engine(name).load(tmp_path) or engine.refresh(tmp_path, take(slice(100, 1100), 2))
    now = take(slice(100, 1100), 2)  # nobody has brought it in step yet
    assert_good(name, search(live, now), now)
    live = engine.refresh(tmp_path, now)
    assert live.version == 2 or name == "local"  # an exact index holds nothing that could be behind
    assert_good(name, search(live, now), now)


def test_equal_vectors_come_in_the_order_of_their_rows(name, engine, tmp_path):
    vectors = np.tile(VECTORS[:400], (3, 1))
    photos = PhotoVectors(vectors, KEYS[:1200], 1)
    rows, scores = search(engine.refresh(tmp_path, photos), photos, 3, VECTORS[:20])
    np.testing.assert_array_equal(rows, np.arange(20)[:, None] + [0, 400, 800])
    assert (scores == scores[:, :1]).all()


def test_more_ties_than_candidates_are_all_looked_at(name, engine, tmp_path):
    vectors = VECTORS.copy()
    vectors[200:900] = vectors[200]
    photos = PhotoVectors(vectors, KEYS, 1)
    rows, _ = search(engine.refresh(tmp_path, photos), photos, 5, vectors[200:201])
    if "PQ" not in name:
        np.testing.assert_array_equal(rows, [[200, 201, 202, 203, 204]])


@pytest.mark.parametrize("number", [0, 1, 3])
def test_few_rows_are_enough(name, engine, tmp_path, number):
    photos = take(slice(0, number))
    live = engine.refresh(tmp_path, photos)
    assert_good(name, search(live, photos, 2), photos, 2) if number else None
    assert search(live, photos, 2)[0].shape == (len(QUERIES), min(2, number))
    assert search(live, photos, 0)[0].shape == (len(QUERIES), 0)


def test_only_what_is_new_is_sent(milvus, tmp_path, monkeypatch):
    live = milvus.refresh(tmp_path, take(slice(0, 800)))
    sent = []
    put = milvus_module.MilvusTable.put
    monkeypatch.setattr(
        milvus_module.MilvusTable, "put", lambda *given: (sent.append(len(given[3])), put(*given))
    )
    grown = milvus.refresh(tmp_path, take(slice(0, 820), 2))
    assert (sent, grown.table.name, grown.table.count()) == ([20], live.table.name, 820)
    assert milvus.refresh(tmp_path, take(slice(0, 820), 2)).record == grown.record
    assert sent == [20]


def test_a_fill_that_was_interrupted_goes_on(name, milvus, make_engine, tmp_path, monkeypatch):
    monkeypatch.setattr(milvus_module, "STEP_ROWS", 300)

    def interrupt(done, of):
        if done >= 600:
            raise KeyboardInterrupt

    photos = take(slice(0, 1000))
    with pytest.raises(KeyboardInterrupt):
        milvus.refresh(tmp_path, photos, report=interrupt)
    assert make_engine(name).load(tmp_path) is None  # whoever searches meanwhile has what was there before
    steps = []
    live = make_engine(name).refresh(tmp_path, photos, report=lambda done, of: steps.append((done, of)))
    assert steps == [(900, 1000), (1000, 1000)]
    assert live.table.count() == 1000
    assert_good(name, search(live, photos), photos)


def test_rows_that_were_sent_but_not_written_down_do_no_harm(name, milvus, tmp_path):
    photos = take(slice(0, 1000))
    live = milvus.refresh(tmp_path, photos)
    live.table.put(VECTORS, KEYS, np.arange(1000, 1100))  # killed before the record was saved
    assert_good(name, search(live, photos), photos)
    more = take(slice(0, 1200), 2)
    assert_good(name, search(live, more), more)
    live = milvus.refresh(tmp_path, more)
    assert live.table.count() == 1200
    assert_good(name, search(live, more), more)


def test_one_that_holds_less_than_it_should_is_refused_and_filled_again(name, milvus, make_engine, tmp_path):
    photos = take(slice(0, 500))
    live = milvus.refresh(tmp_path, photos)
    client = live.table._connected(30)
    client.delete(live.table.name, ids=np.ascontiguousarray(KEYS[:7]).view(np.int64).tolist())
    with pytest.raises(OutOfStepError, match=r"holds 493 of 500 photos; run 'meisho index'"):
        search(make_engine(name).load(tmp_path), photos)
    live = milvus.refresh(tmp_path, photos)
    assert_good(name, search(live, photos), photos)
    live.table.drop()
    with pytest.raises(OutOfStepError, match="not there; run 'meisho index'"):
        search(make_engine(name).load(tmp_path), photos)
    assert_good(name, search(milvus.refresh(tmp_path, photos), photos), photos)


def test_what_is_not_loaded_is_loaded_and_not_filled_anew(name, milvus, make_engine, tmp_path):
    """Milvus Lite loads nothing that it finds in its file, as every new process does."""
    photos = take(slice(0, 500))
    table = milvus.refresh(tmp_path, photos).table
    for use in (make_engine(name).load, lambda folder: milvus.refresh(folder, photos)):
        table._connected(30).release_collection(table.name)
        live = use(tmp_path)
        assert_good(name, search(live, photos), photos)
        assert live.table.name == table.name


def break_lite(folder, how):
    path = folder / "x.db"
    if how == "no folder":
        return folder / "no" / "x.db"
    if how == "foreign file":
        path.write_bytes(b"SQLite format 3")
    else:
        path.mkdir()
        (path / "photo.jpg").write_bytes(b"photo")
    return path


@pytest.mark.parametrize(
    ("how", "said"),
    [("no folder", "make it"), ("foreign file", "no database"), ("foreign folder", "other things")],
)
def test_a_place_that_is_no_database_is_refused_and_left_alone(tmp_path, how, said):
    path = break_lite(tmp_path, how)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UnreachableError, match=said):
        open_engine(f"milvus:{path}").check()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_stale_one_is_filled_anew_and_its_readers_go_on(name, milvus, make_engine, tmp_path):
    first = take(slice(0, 1000))
    old = milvus.refresh(tmp_path, first)
    now = take(slice(400, 1400), 2)
    new = milvus.refresh(tmp_path, now)
    assert new.table.name != old.table.name
    assert_good(name, search(new, now), now)
    assert_good(name, search(old, first), first)
    milvus.refresh(tmp_path, take(slice(900, 1600), 3))
    with pytest.raises(OutOfStepError):
        search(old, first)


def test_a_copy_leaves_the_table_of_its_original_alone(name, milvus, tmp_path, caplog):
    here, copy, photos = tmp_path / "here", tmp_path / "copy", take(slice(0, 500))
    original = milvus.refresh(here, photos)
    shutil.copytree(here, copy)
    assert_good(name, search(milvus.load(copy), photos), photos)  # it asks the table of the original
    assert not caplog.records
    milvus.forget(copy)
    assert "was copied or moved here" in caplog.text and str(here) in caplog.text
    assert_good(name, search(milvus.load(here), photos), photos)

    shutil.copytree(here, copy, dirs_exist_ok=True)
    more = take(slice(300, 1000), 2)  # stale, so that it is filled anew
    own = milvus.refresh(copy, more)
    assert own.table.name != original.table.name
    assert (original.table.count(), own.record.before) == (500, "")
    assert_good(name, search(own, more), more)
    caplog.clear()
    milvus.refresh(copy, take(slice(800, 1300), 3))
    assert milvus.refresh(here, photos).table.name == original.table.name
    milvus.forget(copy)
    assert not caplog.records
    assert_good(name, search(milvus.load(here), photos), photos)


@pytest.mark.parametrize("how", ["put back in its place", "moved", "from another machine"])
def test_who_cannot_be_told_from_a_copy_gets_a_table_of_its_own(make_engine, lite_file, tmp_path, how):
    engine, photos, here = (
        open_engine(f"milvus:{lite_file}?index=FLAT"),
        take(slice(0, 50)),
        tmp_path / "here",
    )
    old, to = engine.refresh(here, photos).table, here
    if how == "moved":
        to = here.rename(tmp_path / "there")
    elif how == "put back in its place":
        here.rename(tmp_path / "backup")
        shutil.copytree(tmp_path / "backup", here)
    else:
        record = here / "engine" / "engine.json"
        values = read_sealed(record)
        write_sealed(record, values | {"owner": f"0123456789ab {values['owner'].partition(' ')[2]}"})
    new = engine.refresh(to, photos)
    assert new.table.name != old.name and old.count() == 50
    assert engine.refresh(to, photos).table.name == new.table.name


def test_what_is_forgotten_is_gone(milvus, tmp_path):
    live = milvus.refresh(tmp_path, take(slice(0, 50)))
    milvus.forget(tmp_path)
    assert milvus.load(tmp_path) is None
    with pytest.raises(OutOfStepError):
        live.table.count()
    milvus.forget(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"{}", b"not json"])
def test_a_damaged_record_is_as_none(name, milvus, tmp_path, damage, caplog):
    photos = take(slice(0, 300))
    milvus.refresh(tmp_path, photos)
    record = tmp_path / "engine" / "engine.json"
    record.write_bytes(damage)
    assert milvus.load(tmp_path) is None
    assert "run 'meisho index' again" in caplog.text
    assert_good(name, search(milvus.refresh(tmp_path, photos), photos), photos)


def test_other_parameters_of_a_search_need_no_other_index(make_engine, tmp_path, lite_file):
    photos = take(slice(0, 300))
    table = open_engine(f"milvus:{lite_file}?index=HNSW&ef=40").refresh(tmp_path, photos).table
    same = open_engine(f"milvus:{lite_file}?index=HNSW&ef=90&consistency=Bounded").refresh(tmp_path, photos)
    assert same.table.name == table.name and same.table.place.consistency == "Bounded"
    other = open_engine(f"milvus:{lite_file}?index=HNSW&M=8").refresh(tmp_path, photos)
    assert other.table.name != table.name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("milvsu:http://a:1", "nearest is 'milvus'"),
        ("local:there", "'local' is nowhere else"),
        ("milvus:", "neither a URI nor a file"),
        ("milvus:photos", "NAME.db"),
        ("milvus:ftp://host", "no URI of a server"),
        ("milvus:http://", "no URI of a server"),
        ("milvus:http://host:99999", "no URI of a server"),
        ("milvus:http://user:secret@host:19530", "MILVUS_TOKEN"),
        ("milvus:http://host?index=HNWS", "nearest is 'HNSW'"),
        ("milvus:http://host?index=FLAT&ef=3", "no option"),
        ("milvus:http://host?ef=-3", "give a whole number"),
        ("milvus:http://host?ef=3&ef=4", "twice"),
        ("milvus:http://host?consistency=None", "consistency"),
        ("milvus:http://host?timeout=soon", "give seconds"),
        ("milvus:http://host?timeout=0", "timeout"),
        ("milvus:http://host?db=a/b", "name of a database"),
        ("milvus:http://host?", None),
    ],
)
def test_what_cannot_be_an_engine_is_refused_in_words(text, said):
    if said is None:
        assert open_engine(text).text == "milvus:http://host"
        return
    with pytest.raises(ConfigError, match=said) as refused:
        open_engine(text)
    assert "secret" not in str(refused.value)


def test_the_text_of_an_engine_says_it_all(monkeypatch, tmp_path):
    text = "milvus:http://host:1?index=IVF_PQ&db=x&consistency=Session&timeout=3&nlist=9&m=4&nprobe=2"
    assert open_engine(text).text == text
    monkeypatch.chdir(tmp_path)
    assert open_engine("milvus:a.db").text == f"milvus:{tmp_path}/a.db"


@pytest.mark.slow
def test_a_killed_server_is_an_error_never_a_wrong_answer(server, tmp_path):
    photos, more = take(slice(0, 1000)), take(slice(0, 1600), 2)
    expected = ExactIndex.build(photos.vectors).search(QUERIES, 10)[0]
    engine = open_engine(f"milvus:{server.uri}?index=FLAT&timeout=600")
    engine.refresh(tmp_path, photos)
    impatient = open_engine(f"milvus:{server.uri}?index=FLAT&timeout=2").load(tmp_path)
    index = impatient.follow(photos.vectors, photos.keys, 1)
    outcomes = []

    def ask_on():
        while True:
            try:
                outcomes.append(np.array_equal(index.search(QUERIES, 10)[0], expected))
            except UnreachableError as error:
                outcomes.append(error)
                return

    threads = [threading.Thread(target=ask_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(outcomes) >= 8 or not any(thread.is_alive() for thread in threads))
    server.kill()
    for thread in threads:
        thread.join()
    errors = [outcome for outcome in outcomes if isinstance(outcome, UnreachableError)]
    assert len(errors) == 4 and all(outcome is True for outcome in outcomes if outcome not in errors)
    assert "does not answer within 2 s; start it" in str(errors[0])
    with pytest.raises(UnreachableError):
        impatient.table.connect()
    with pytest.raises(UnreachableError):
        open_engine(f"milvus:{server.uri}?index=FLAT&timeout=1").refresh(tmp_path, more)
    server.start()
    live = engine.load(tmp_path)
    assert_good("server FLAT", search(live, photos), photos)
    assert_good("server FLAT", search(live, more), more)
    live = engine.refresh(tmp_path, more)
    assert live.table.count() == 1600
    assert_good("server FLAT", search(live, more), more)
