"""Names from outside: whatever comes, the file lies below the folder, is not hidden, and can be read."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meisho.errors import InputError
from meisho.photo_folder import find_photos
from meisho.photos import PHOTO_SUFFIXES
from meisho.service.names import place_inside, safe_name

KINDS = [
    ("tower.jpg", "tower.jpg"),
    ("trip/day 1/塔.JPG", "trip/day 1/塔.JPG"),
    ("../../etc/passwd", "etc/passwd.png"),
    ("/etc/passwd.jpg", "etc/passwd.jpg"),
    ("C:\\Users\\me\\a.jpg", "C_/Users/me/a.jpg"),
    (".hidden.jpg", "hidden.jpg"),
    ("a/.git/b.jpg", "a/git/b.jpg"),
    ("a/..", "a.png"),
    ("...", "photo.png"),
    ("", "photo.png"),
    ("a\0b\n.jpg", "a_b_.jpg"),
    ("\u202egpj.exe", "_gpj.exe.png"),
    ('<img src=x onerror="alert(1)">.jpg', "_img src=x onerror=_alert(1)__.jpg"),
    ("con.jpg", "_con.jpg"),
    ("e\u0301glise.jpg", "église.jpg"),
    ("👩‍👧.webp", "👩‍👧.webp"),
    ("notes.txt", "notes.txt.png"),
    ("x" * 300 + ".jpeg", "x" * 145 + ".jpeg"),
    ("塔" * 100 + ".jpg", "塔" * 48 + ".jpg"),
    ("trailing. /dots..jpg", "trailing/dots..jpg"),
]


@pytest.mark.parametrize(("name", "safe"), KINDS)
def test_names_are_made_safe_and_stay_readable(name, safe):
    assert safe_name(name, "PNG") == safe


anything = st.text(st.one_of(st.sampled_from("./\\ :\0\n\u202eé塔a"), st.characters()), max_size=80)


@settings(max_examples=500)
@given(anything, st.sampled_from([None, "JPEG", "PNG", "odd"]))
@example("a" * 149 + "é.jpg", "JPEG")
@example("\ud800.jpg", "JPEG")
def test_no_name_leads_out_or_hides(name, format):
    safe = safe_name(name, format)
    path = (Path("/folder") / safe).resolve()
    assert path.is_relative_to("/folder") and path != Path("/folder")
    assert all(part and not part.startswith(".") and part not in ("..",) for part in safe.split("/"))
    assert all(len(os.fsencode(part)) <= 160 for part in safe.split("/"))
    assert not set(safe) & set('\0\n\r\\<>:"|?*') and safe == unicodedata.normalize("NFC", safe)
    assert safe_name(safe, format) == safe
    if format is not None:
        assert Path(safe).suffix.lower() in PHOTO_SUFFIXES or Path(safe).suffix


@settings(max_examples=100)
@given(anything)
def test_a_file_of_any_name_is_found_when_the_folder_is_walked(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("names")
    path = place_inside(folder, safe_name(name, "JPEG"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xff\xd8\xff")
    (found,) = find_photos(folder, excludes=()).photos
    assert found.path == path and folder / found.id == path


def test_links_that_lead_out_are_not_followed(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    (inside / "away").symlink_to(outside)
    (inside / "sub" / "here").symlink_to(inside / "sub")
    (inside / "file.jpg").write_bytes(b"x")
    (inside / "link.jpg").symlink_to(outside / "a.jpg")
    assert place_inside(inside, "sub/here/a.jpg") == inside / "sub" / "here" / "a.jpg"
    assert place_inside(inside, "new/deep/a.jpg") == inside / "new" / "deep" / "a.jpg"
    for name in ("away/a.jpg", "away/deep/er/a.jpg", "link.jpg"):
        with pytest.raises(InputError, match="a link leads out of"):
            place_inside(inside, name)
    with pytest.raises(InputError, match="is a file, so that no photo can lie below it"):
        place_inside(inside, "file.jpg/a.jpg")
