"""When and where photos were taken: what cameras write is read, what is broken is not known."""

import io
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from meisho.capture import Capture, read_capture
from meisho.photos import Photo

KYOTO = {1: "N", 2: (35.0, 2.0, 22.2), 3: "E", 4: (135.0, 43.0, 45.0)}


def photo(taken=None, digitized=None, changed=None, place=None, format="JPEG"):
    exif = Image.Exif()
    exif[0x010F] = "toy camera"
    times = {0x9003: taken, 0x9004: digitized}
    exif.get_ifd(0x8769).update({tag: text for tag, text in times.items() if text is not None})
    if changed:
        exif[0x0132] = changed
    if place:
        exif.get_ifd(0x8825).update(place)
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, format, exif=exif.tobytes())
    return Photo("p", "p", content=file.getvalue())


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_format_tells_when_and_where(format):
    capture = read_capture(photo("2024:05:01 12:33:07", place=KYOTO, format=format))
    assert capture.taken == datetime(2024, 5, 1, 12, 33, 7)
    assert (capture.latitude, capture.longitude) == pytest.approx((35.0395, 135.729166), abs=1e-5)


@pytest.mark.parametrize(
    ("times", "taken"),
    [
        (
            {"taken": "2024:05:01 12:33:07", "digitized": "2025:01:01 00:00:00"},
            datetime(2024, 5, 1, 12, 33, 7),
        ),
        ({"digitized": "1987:12:31 23:59:59"}, datetime(1987, 12, 31, 23, 59, 59)),
        ({"taken": "0000:00:00 00:00:00", "digitized": "1999:01:02 03:04:05"}, datetime(1999, 1, 2, 3, 4, 5)),
        ({"taken": "2024-05-01T12:33:07+09:00"}, datetime(2024, 5, 1, 12, 33, 7)),
        ({"taken": "    :  :     :  :  "}, None),
        ({"taken": "2024:02:30 12:00:00"}, None),
        ({"changed": "2024:05:01 12:33:07"}, None),
        ({}, None),
    ],
)
def test_the_time_is_when_the_shutter_opened(times, taken):
    assert read_capture(photo(**times)).taken == taken


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({1: "S", 3: "W"}, (-35.0395, -135.729166)),
        ({2: (35.0395,), 4: (135.729166,)}, (35.0395, 135.729166)),
        ({2: (95.0, 0.0, 0.0)}, (None, None)),
        ({4: (181.0, 0.0, 0.0)}, (None, None)),
        ({2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)}, (None, None)),
    ],
)
def test_a_place_is_one_on_the_earth(changes, place):
    capture = read_capture(photo(place=KYOTO | changes))
    found = (capture.latitude, capture.longitude)
    assert found == (None, None) if place == (None, None) else found == pytest.approx(place, abs=1e-4)


@settings(max_examples=200)
@given(st.data())
def test_broken_files_say_nothing_and_do_no_harm(data):
    whole = bytearray(photo("2024:05:01 12:33:07", place=KYOTO).content)
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(2, min(len(whole) - 1, 300)))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(1, len(whole)))])
    assert isinstance(read_capture(Photo("p", "p", content=cut)), Capture)


def test_a_file_that_is_gone_says_nothing(tmp_path):
    assert read_capture(Photo("p", tmp_path / "gone.jpg")) == Capture()
