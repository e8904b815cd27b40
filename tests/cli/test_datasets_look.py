"""`meisho datasets stats` and `split` as a user runs them."""

import json

import pytest
from PIL import Image

TABLE = "filename,landmark_id\n" + "".join(f"{i}.jpg,{i // 3}\n" for i in range(30))


@pytest.fixture
def micro(tmp_path):
    root = tmp_path / "gldv2_micro"
    (root / "images").mkdir(parents=True)
    (root / "gldv2_micro.csv").write_text(TABLE)
    for i in range(30):
        Image.new("RGB", (40 + i, 30), (8 * i, 100, 255 - 8 * i)).save(root / "images" / f"{i}.jpg")
    return root


def test_stats_prints_classes_and_draws_them(run, micro, tmp_path):
    code, printed, _ = run("datasets", "stats", "gldv2_micro", "--root", micro, "--to", tmp_path / "st")
    assert code == 0
    assert "30 photos of 10 classes" in printed
    assert "█" in printed
    assert (tmp_path / "st" / "histogram.png").is_file()
    assert (tmp_path / "st" / "histogram.svg").is_file()


def test_stats_reads_photos_when_asked(run, micro):
    (micro / "images" / "0.jpg").write_bytes((micro / "images" / "29.jpg").read_bytes())
    (micro / "images" / "1.jpg").write_bytes(b"\xff\xd8")
    code, printed, _ = run("datasets", "stats", "gldv2_micro", "--root", micro, "--photos", "--json")
    facts = json.loads(printed)
    assert code == 0
    assert facts["classes"]["num_classes"] == 10
    assert facts["photos"]["copies"]["exact"] == {"groups": 1, "across_parts": 0, "across_labels": 1}
    assert [photo["path"] for photo in facts["photos"]["broken"]] == [str(micro / "images" / "1.jpg")]
    code, printed, errors = run("datasets", "stats", "gldv2_micro", "--root", micro, "--photos")
    assert code == 0
    assert "1 group; 0 across parts, 1 across labels" in printed
    assert "1.jpg: " in errors


def test_stats_of_a_data_set_without_classes_needs_photos(run, tmp_path):
    code, _, errors = run("datasets", "stats", "roxford5k", "--root", tmp_path)
    assert code == 2
    assert "add --photos" in errors


def test_split_writes_tables_that_the_next_commands_read(run, micro, tmp_path):
    to = tmp_path / "split"
    code, printed, _ = run("datasets", "split", "gldv2_micro", "--root", micro, "--to", to, "--landmarks", 2)
    assert code == 0
    assert "24 photos of 8 classes" in printed
    assert "2 queries, 4 database photos of 2 other classes" in printed
    code, printed, _ = run("datasets", "stats", "csv", "--root", to / "train.csv", "--json")
    assert json.loads(printed)["classes"]["num_photos"] == 24
    code, _, errors = run("datasets", "split", "gldv2_micro", "--root", micro, "--to", to)
    assert code == 2
    assert "--overwrite" in errors


def test_the_chapter_s_split_says_which_classes_are_lost(run, micro, tmp_path):
    table = micro / "gldv2_micro.csv"
    table.write_text(TABLE.replace("\n0.jpg,0\n", "\n0.jpg,alone\n"))
    (tmp_path / "without.txt").write_text("1\n404\n")
    arguments = ("datasets", "split", "gldv2_micro", "--root", micro, "--kind", "image")
    arguments += ("--without", tmp_path / "without.txt", "--to", tmp_path / "s")
    code, printed, errors = run(*arguments)
    assert code == 0
    assert "10 photos, one of each class" in printed
    assert "Left out: 3 photos" in printed
    assert "1 class had one photo" in errors
    assert "1 class to leave out is not in this data set" in errors


def test_a_broken_table_is_one_line_and_leaves_nothing_behind(run, micro, tmp_path):
    (micro / "gldv2_micro.csv").write_text("filename,landmark\n1.jpg,1\n")
    code, printed, errors = run("datasets", "split", "gldv2_micro", "--root", micro, "--to", tmp_path / "s")
    assert code == 2
    assert printed == ""
    assert "gldv2_micro.csv:1: the header needs one of these pairs" in errors
    assert not (tmp_path / "s").exists()


def test_options_are_checked_before_a_table_is_read(run, tmp_path):
    missing, file = tmp_path / "missing", tmp_path / "file"
    file.write_text("")
    for arguments, reason in (
        (("split", "gldv2_micro", "--to", tmp_path / "to", "--kind", "half"), "no split is called 'half'"),
        (("split", "roxford5k", "--to", tmp_path / "to"), "no set of labelled photos is called 'roxford5k'"),
        (("split", "gldv2_micro", "--to", file), "file is a file, not a folder"),
        (("stats", "gldv2_micro", "--to", file), "file is a file, not a folder"),
        (("stats", "oxford", "--photos"), "no data set is called 'oxford'"),
    ):
        code, printed, errors = run("datasets", *arguments, "--root", missing)
        assert code == 2 and printed == "" and reason in errors, errors


def test_a_labelled_set_put_there_by_hand_is_checked(run, micro):
    code, printed, _ = run("datasets", "check", "gldv2_micro", "--root", micro)
    assert code == 0 and "it loads as gldv2_micro: 30 photos, 10 classes; every photo is there" in printed
    (micro / "images" / "7.jpg").unlink()
    code, printed, errors = run("datasets", "check", "gldv2_micro", "--root", micro)
    assert code == 2 and "1 photo missing" in errors and str(micro / "images" / "7.jpg") in printed
    code, printed, _ = run("datasets", "check", "gldv2_micro", "--root", micro, "--json")
    assert json.loads(printed)["loads"][0]["missing"] == [str(micro / "images" / "7.jpg")]
