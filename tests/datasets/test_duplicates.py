"""Copies of photos: exact ones, near ones, and no others."""

import csv
import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from meisho.datasets.duplicates import describe_photos, find_near_pairs, write_copies
from meisho.datasets.photo_facts import PhotoFacts, examine_photo, examine_photos, hash_picture, list_photos
from meisho.errors import InputError


def picture(seed, size=(320, 240)):
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.BLUR)


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


@pytest.fixture
def facts(tmp_path):
    save(picture(0), tmp_path / "train" / "a.jpg")
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "exact.jpg").write_bytes((tmp_path / "train" / "a.jpg").read_bytes())
    save(picture(1), tmp_path / "train" / "b.jpg")
    save(picture(1).resize((160, 120)), tmp_path / "train" / "small.jpg", quality=50)
    save(picture(2), tmp_path / "val" / "c.png")
    (tmp_path / "val" / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    names = [
        ("train/a.jpg", "x"),
        ("val/exact.jpg", "x"),
        ("train/b.jpg", "x"),
        ("train/small.jpg", "y"),
        ("val/c.png", "x"),
        ("val/broken.jpg", "x"),
        ("val/gone.jpg", "x"),
    ]
    return examine_photos([PhotoFacts(tmp_path / name, name.split("/")[0], label) for name, label in names])


def test_copies_broken_photos_and_sizes_are_found(facts):
    statistics = describe_photos(facts)
    assert [(group.rows, group.exact) for group in statistics.copies] == [((0, 1), True), ((2, 3), False)]
    assert [group.crosses_parts for group in statistics.copies] == [True, False]
    assert [group.crosses_labels for group in statistics.copies] == [False, True]
    assert [photo.path.name for photo in statistics.broken] == ["broken.jpg", "gone.jpg"]
    assert all(photo.error for photo in statistics.broken)
    assert statistics.width_px == (160, 320, 320)
    assert statistics.num_bytes == sum(photo.path.stat().st_size for photo in facts[:6])
    assert (
        statistics.count(exact=True, crossing="parts")
        == statistics.count(exact=False, crossing="labels")
        == 1
    )


def test_copies_are_written_one_row_per_photo(facts, tmp_path):
    write_copies(describe_photos(facts).copies, facts, tmp_path / "out" / "copies.csv")
    with (tmp_path / "out" / "copies.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["group"], row["kind"], row["part"]) for row in rows] == [
        ("1", "exact", "train"),
        ("1", "exact", "val"),
        ("2", "near", "train"),
        ("2", "near", "train"),
    ]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["copies.csv"]


def test_the_hash_changes_little_with_size_and_quality_and_much_between_pictures():
    def resaved(image):
        jpeg = io.BytesIO()
        image.resize((image.width // 2, image.height // 2)).save(jpeg, "JPEG", quality=40)
        return np.asarray(Image.open(jpeg))

    hashes = [hash_picture(np.asarray(picture(seed))) for seed in range(20)]
    for seed, value in enumerate(hashes):
        assert (value ^ hash_picture(resaved(picture(seed)))).bit_count() <= 6
    assert min((a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]) > 10


@pytest.mark.parametrize("near_bits", range(8))
def test_pairs_equal_those_of_comparing_all(near_bits):
    rng = np.random.default_rng(near_bits)
    hashes = rng.integers(0, 2**63, 400, dtype=np.uint64)
    flipped = hashes[:300].copy()
    for row in range(300):
        for bit in rng.choice(64, rng.integers(1, 10), replace=False):
            flipped[row] ^= np.uint64(1) << np.uint64(bit)
    hashes = np.unique(np.concatenate([hashes, flipped]))
    wanted = [
        (i, j)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= near_bits
    ]
    assert [tuple(pair) for pair in find_near_pairs(hashes, near_bits=near_bits).tolist()] == wanted
    assert (len(wanted) > 0) == (near_bits > 0)


def test_no_hashes_and_too_many_bits():
    assert find_near_pairs(np.empty(0, np.uint64)).shape == (0, 2)
    with pytest.raises(InputError, match="0 to 7 bits, not in 8"):
        find_near_pairs(np.empty(0, np.uint64), near_bits=8)
    assert describe_photos([]).width_px == (0, 0, 0)


def test_parts_are_tables_or_roles(tmp_path):
    (tmp_path / "train.csv").write_text("file,label\na.jpg,x\n")
    (tmp_path / "val.csv").write_text("file,label,role\nb.jpg,y,query\nc.jpg,y,database\n")
    both = list_photos("csv", tmp_path / "train.csv", beside=[tmp_path / "val.csv"])
    assert [(photo.path.name, photo.part, photo.label) for photo in both] == [
        ("a.jpg", "train", "x"),
        ("b.jpg", "val", "y"),
        ("c.jpg", "val", "y"),
    ]
    assert [photo.part for photo in list_photos("csv", tmp_path / "val.csv")] == ["query", "database"]


@pytest.mark.shared
def test_real_photos_are_near_only_to_their_own_copies(shared_data, tmp_path):
    sources = sorted((shared_data / "gld").glob("*.jpg"))
    photos = [PhotoFacts(path, "real") for path in sources]
    for path in sources:
        with Image.open(path) as image:
            save(image.convert("RGB").resize((256, 192)), tmp_path / path.name, quality=40)
        photos.append(PhotoFacts(tmp_path / path.name, "again"))
    statistics = describe_photos([examine_photo(photo) for photo in photos])
    assert [group.rows for group in statistics.copies] == [(i, i + 13) for i in range(13)]
