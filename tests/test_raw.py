"""RAW photos are read by the JPEG that the camera put into them; a drawn DNG stands for all of them."""

import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from meisho.errors import ImageError
from meisho.images import ImageOptions, load_image, read_size
from meisho.photo_folder import find_photos
from meisho.photos import Photo

BYTE, TEXT, SHORT, LONG, SIGNED_RATIONAL, RATIONAL = 1, 2, 3, 4, 10, 5
UNIT = (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)


def picture():
    y, x = np.mgrid[0:240, 0:320]
    return np.stack([x * 0.8, y, (x + y) * 0.45], axis=-1).astype(np.uint8)


def write_dng(path):
    """Write a DNG: a JPEG as its first page, and below it a sensor's values, which are noise."""
    facts = [
        (50706, BYTE, 4, (1, 4, 0, 0), True),  # DNGVersion
        (50708, TEXT, 0, "Drawn", True),  # UniqueCameraModel
        (271, TEXT, 0, "Meisho", True),
        (272, TEXT, 0, "Drawn", True),
        (50721, SIGNED_RATIONAL, 9, UNIT, True),  # ColorMatrix1
        (50728, RATIONAL, 3, (1, 1) * 3, True),  # AsShotNeutral
        (50778, SHORT, 1, 21, True),  # CalibrationIlluminant1
    ]
    sensor = [
        (33421, SHORT, 2, (2, 2), True),  # CFARepeatPatternDim
        (33422, BYTE, 4, (0, 1, 1, 2), True),  # CFAPattern
        (50714, SHORT, 1, 0, True),  # BlackLevel
        (50717, LONG, 1, 4095, True),  # WhiteLevel
    ]
    noise = np.random.default_rng(0).integers(200, 4000, (480, 640)).astype(np.uint16)
    with tifffile.TiffWriter(path) as dng:
        dng.write(
            np.asarray(Image.fromarray(picture()).convert("YCbCr")),
            photometric="ycbcr",
            compression="jpeg",
            subfiletype=1,
            subifds=1,
            rowsperstrip=240,
            extratags=facts,
        )
        dng.write(noise, photometric="cfa", subfiletype=0, rowsperstrip=480, extratags=sensor)


def test_a_raw_photo_is_read_by_its_preview(tmp_path):
    write_dng(tmp_path / "a.DNG")
    (photo,) = find_photos(tmp_path).photos
    assert read_size(photo) == (320, 240)
    image = load_image(photo, ImageOptions(320))
    error = np.abs(image.astype(int) - picture()).mean()
    assert error < 3


UNREADABLE = "damaged, or RAW of a kind that is not known: no picture can be read of this RAW photo"
WITHOUT_PICTURE = {
    "a table of nothing": (b"II*\0" + bytes(500), UNREADABLE),
    "few bytes": (b"12345678", UNREADABLE),
    "one byte": (b"1", UNREADABLE),
    "noise": (np.random.default_rng(0).bytes(5000), UNREADABLE),
}


@pytest.mark.parametrize("content", WITHOUT_PICTURE)
def test_a_raw_photo_without_a_picture_is_refused_with_the_true_reason(tmp_path, content):
    data, reason = WITHOUT_PICTURE[content]
    (tmp_path / "a.nef").write_bytes(data)
    with pytest.raises(ImageError) as refused:
        load_image(Photo("a", tmp_path / "a.nef"), ImageOptions(64))
    assert refused.value.reason == reason


def test_a_raw_photo_that_is_cut_is_refused_as_damaged(tmp_path):
    write_dng(tmp_path / "a.dng")
    whole = (tmp_path / "a.dng").read_bytes()
    for size in (10, 500, 2000):
        (tmp_path / "a.dng").write_bytes(whole[:size])
        with pytest.raises(ImageError, match="damaged"):
            load_image(Photo("a", tmp_path / "a.dng"), ImageOptions(64))


def test_without_the_package_it_is_named(tmp_path, monkeypatch):
    write_dng(tmp_path / "a.dng")
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(ImageError, match=r"pip install 'meisho\[raw\]'"):
        load_image(Photo("a", tmp_path / "a.dng"), ImageOptions(64))
