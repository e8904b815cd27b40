"""Filters: folders, days and places; what is not known is no answer."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meisho.descriptors import Descriptors, Provenance
from meisho.errors import InputError
from meisho.run.filters import Captures, Circle, Filter, distances_km, lie_below
from meisho.store.snapshot import Snapshot

IDS = ("a/1.jpg", "a/b/2.jpg", "ab/3.jpg", "é 名所/4.jpg", "5.jpg", "/elsewhere/6.jpg")
DAYS = np.array(
    ["2020-01-01", "2020-01-02", "2021-06-30", "NaT", "2019-12-31", "2030-01-01"], "datetime64[D]"
)
LATITUDES = np.array([35.0, 35.01, 48.85, np.nan, -35.0, 0.001])
LONGITUDES = np.array([135.0, 135.0, 2.35, np.nan, 179.999, -179.999])
SNAPSHOT = Snapshot(
    Descriptors(IDS, np.zeros((6, 2), np.float32), Provenance("toy")),
    np.arange(6, dtype=np.uint64),
    1,
    IDS,
    np.arange(6),
)


def chosen(**fields):
    captures = Captures(DAYS, LATITUDES, LONGITUDES)
    mask = Filter.parse(**fields).choose(SNAPSHOT, lambda snapshot: captures)
    return [IDS[row] for row in np.flatnonzero(mask)]


@pytest.mark.parametrize(
    ("fields", "ids"),
    [
        ({}, IDS),
        ({"folder": "a"}, ["a/1.jpg", "a/b/2.jpg"]),
        ({"folder": "a/"}, ["a/1.jpg", "a/b/2.jpg"]),
        ({"folder": "a/b"}, ["a/b/2.jpg"]),
        ({"folder": "é 名所"}, ["é 名所/4.jpg"]),
        ({"folder": "/elsewhere"}, ["/elsewhere/6.jpg"]),
        ({"folder": "gone"}, []),
        ({"after": "2020-01-02"}, ["a/b/2.jpg", "ab/3.jpg", "/elsewhere/6.jpg"]),
        ({"before": "2020-01-01"}, ["a/1.jpg", "5.jpg"]),
        ({"after": "2020-01-01", "before": "2020-01-01"}, ["a/1.jpg"]),
        ({"gps": "35,135,1.2"}, ["a/1.jpg", "a/b/2.jpg"]),
        ({"gps": "35,135,1"}, ["a/1.jpg"]),
        ({"gps": "0,180,1"}, ["/elsewhere/6.jpg"]),
        ({"gps": "0,0,20038"}, [i for i in IDS if i != "é 名所/4.jpg"]),
        ({"gps": "35,135,50", "folder": "a/b", "after": "2020-01-01"}, ["a/b/2.jpg"]),
    ],
)
def test_only_what_fits_is_chosen(fields, ids):
    assert chosen(**fields) == list(ids)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"after": "2020-13-01"}, "after is '2020-13-01'; give a day as YYYY-MM-DD"),
        ({"before": "20200101"}, "before is '20200101'"),
        ({"before": "2020-W01-1"}, "before is '2020-W01-1'"),
        ({"after": "2020-01-02", "before": "2020-01-01"}, "before is 2020-01-01, earlier than after"),
        ({"gps": "35,135"}, "gps is '35,135'; give latitude,longitude,km"),
        ({"gps": "91,0,1"}, "gps is 91,0,1; give the latitude"),
        ({"gps": "nan,0,1"}, "gps is nan,0,1"),
        ({"gps": "0,0,0"}, "gps is 0,0,0"),
        ({"gps": "0,0,inf"}, "gps is 0,0,inf"),
    ],
)
def test_what_is_no_filter_is_refused_in_words(fields, words):
    with pytest.raises(InputError, match=words):
        Filter.parse(**fields)


def test_dates_and_places_are_read_only_where_they_are_asked_for():
    def refuse(snapshot):
        raise AssertionError("was read")

    assert Filter.parse(folder="a").choose(SNAPSHOT, refuse).sum() == 2
    assert [bool(Filter(f)) for f in ("", "a", "/")] == [False, True, True]
    assert bool(Filter(after=date(2020, 1, 1)))


latitudes, longitudes = st.floats(-90, 90), st.floats(-180, 180)


@given(latitudes, longitudes, latitudes, longitudes)
def test_distances_are_those_of_the_angle_between_two_places(lat, lon, other_lat, other_lon):
    here, there = np.radians([lat, lon]), np.radians([other_lat, other_lon])
    points = [np.array([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)]) for a, b in (here, there)]
    angle = np.arctan2(np.linalg.norm(np.cross(*points)), np.dot(*points))
    captures = Captures(DAYS[:1], np.array([other_lat]), np.array([other_lon]))
    found = distances_km(Circle(lat, lon, 1), captures)[0]
    assert found == pytest.approx(angle * 6371.0088, abs=0.2, rel=1e-6)


@given(st.lists(st.text(min_size=1)), st.text(min_size=1))
def test_a_folder_holds_what_begins_with_it_and_a_slash(names, folder):
    ids = [*names, *(f"{folder.rstrip('/')}/{name}" for name in names)]
    found = lie_below(ids, folder)
    assert found[len(names) :].all() and found.tolist() == [
        i.startswith(folder.rstrip("/") + "/") for i in ids
    ]
