import pytest

from meisho.datasets.image_folder import load_image_folder
from meisho.errors import DatasetError


def write_photos(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\xff\xd8")
    return root


def answers(dataset):
    names = [photo.id for photo in dataset.database]
    truth = dataset.ground_truth
    return {
        query.id: ([names[r] for r in right], [names[r] for r in junk])
        for query, right, junk in zip(dataset.queries, truth.positives, truth.junk, strict=True)
    }


def test_each_photo_is_asked_for_among_all_the_others(tmp_path):
    write_photos(tmp_path, "bridge/1.jpg", "bridge/2.JPG", "tower/1.png", "tower/2.webp", "tower/notes.txt")
    dataset = load_image_folder(tmp_path)
    assert answers(dataset) == {
        "bridge/1.jpg": (["bridge/2.JPG"], ["bridge/1.jpg"]),
        "bridge/2.JPG": (["bridge/1.jpg"], ["bridge/2.JPG"]),
        "tower/1.png": (["tower/2.webp"], ["tower/1.png"]),
        "tower/2.webp": (["tower/1.png"], ["tower/2.webp"]),
    }
    assert dataset.name == tmp_path.name
    assert dataset.protocol == "retrieval"


def test_a_photo_alone_in_its_folder_is_searched_but_not_asked_for(tmp_path):
    write_photos(tmp_path, "bridge/1.jpg", "bridge/2.jpg", "alone/1.jpg")
    dataset = load_image_folder(tmp_path)
    assert list(answers(dataset)) == ["bridge/1.jpg", "bridge/2.jpg"]
    assert len(dataset.database) == 3


def test_the_label_is_the_whole_path_of_the_folder(tmp_path):
    write_photos(
        tmp_path, "rome/bridge/1.jpg", "rome/bridge/2.jpg", "paris/bridge/1.jpg", "paris/bridge/2.jpg"
    )
    assert answers(load_image_folder(tmp_path))["rome/bridge/1.jpg"][0] == ["rome/bridge/2.jpg"]


def test_the_split_layout_keeps_queries_out_of_the_database(tmp_path):
    write_photos(
        tmp_path,
        "queries/bridge/1.jpg",
        "database/bridge/1.jpg",
        "database/tower/1.jpg",
        "junk/bridge/9.jpg",
        "distractors/5.jpg",
        "distractors/deep/bridge/6.jpg",
    )
    dataset = load_image_folder(tmp_path)
    assert answers(dataset) == {"queries/bridge/1.jpg": (["database/bridge/1.jpg"], ["junk/bridge/9.jpg"])}
    assert len(dataset.database) == 5


def test_the_split_layout_needs_neither_junk_nor_distractors(tmp_path):
    write_photos(tmp_path, "queries/bridge/1.jpg", "database/bridge/1.jpg")
    assert answers(load_image_folder(tmp_path)) == {"queries/bridge/1.jpg": (["database/bridge/1.jpg"], [])}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.jpg", "bridge/1.jpg", "bridge/2.jpg"], r"1 photos, such as 1\.jpg, lie straight in it"),
        (["queries/1.jpg", "database/a/1.jpg"], r"queries: 1 photos, such as queries/1\.jpg, lie straight"),
        (["bridge/1.jpg", "tower/1.jpg"], "no photo to ask for; put two or more"),
        ([], "no photo to ask for"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_advice(tmp_path, names, message):
    with pytest.raises(DatasetError, match=message):
        load_image_folder(write_photos(tmp_path, *names))


def test_a_file_that_cannot_be_a_photo_is_not_passed_over_in_silence(tmp_path):
    write_photos(tmp_path, "bridge/1.jpg", "bridge/2.jpg")
    for number in range(3, 25):
        (tmp_path / "bridge" / f"{number}.jpg").touch()
    with pytest.raises(DatasetError, match=r"22 entries below it cannot be read; mend or remove") as error:
        load_image_folder(tmp_path)
    _, *lines, last = str(error.value).split("\n")
    assert len(lines) == 20 and lines[7].endswith("bridge/17.jpg: the file is empty (0 bytes)")
    assert last == "  ... and 2 more"


def test_the_same_name_under_two_roles_is_two_photos(tmp_path):
    write_photos(tmp_path, "queries/a/1.jpg", "database/a/1.jpg", "junk/a/1.jpg")
    dataset = load_image_folder(tmp_path)
    assert len({photo.id for photo in (*dataset.queries, *dataset.database)}) == 3
