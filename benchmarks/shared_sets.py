"""The real photos in ../shared/data as data sets: for measuring, and for choosing defaults.

    python benchmarks/shared_sets.py ../shared/data /tmp/sets

writes

- `/tmp/sets/eval.csv`: 63 queries against gallery + junk + distractors, for `meisho evaluate csv --root
  /tmp/sets/eval.csv`. Report on it, never choose by it: `choose_default.py` chooses on the split `train`.
- `/tmp/sets/train.csv` and `/tmp/sets/validation.csv`: to train on, and to choose by (see `train_shared.py`).
- `/tmp/sets/ukbench`: a folder of links with the names of the publisher, for `meisho evaluate ukbench --root
  /tmp/sets/ukbench`.
"""

import argparse
import csv
from collections.abc import Iterable
from pathlib import Path

Record = dict[str, str]


def read_records(shared: Path) -> list[Record]:
    """Read photos.csv: one record per photo with file, landmark, split, role, w, h, source."""
    with (shared / "photos.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write_eval_csv(shared: Path, to: Path) -> Path:
    """Write the split `eval` + the distractors as a table for `load_csv_table`; returns `to`."""
    roles = {"query": "query", "gallery": "database", "junk": "junk"}
    records = read_records(shared)
    rows = [(r["file"], r["landmark"], roles[r["role"]]) for r in records if r["split"] == "eval"]
    return _write_csv(shared, to, [*rows, *_distractors(records)])


def write_training_csvs(shared: Path, to: Path) -> tuple[Path, Path]:
    """Write what is trained on, and what chooses: every fourth landmark of `train`, among the distractors."""
    records = read_records(shared)
    held_out = sorted({r["landmark"] for r in records if r["split"] == "train"})[::4]
    photos = _training_photos(records)
    training = [(r["file"], r["landmark"], "database") for r in photos if r["landmark"] not in held_out]
    validation = [(r["file"], r["landmark"], "both") for r in photos if r["landmark"] in held_out]
    return (
        _write_csv(shared, to / "train.csv", training),
        _write_csv(shared, to / "validation.csv", [*validation, *_distractors(records)]),
    )


def write_choosing_csv(shared: Path, to: Path) -> Path:
    """Write what chooses where no real photo is trained on: all of `train`, among the distractors."""
    records = read_records(shared)
    rows = [(r["file"], r["landmark"], "both") for r in records if r["split"] == "train"]
    return _write_csv(shared, to, [*rows, *_distractors(records)])


def write_whole_training_csv(shared: Path, to: Path) -> Path:
    """Write all that may be trained on when nothing is left to choose; returns `to`."""
    photos = _training_photos(read_records(shared))
    return _write_csv(shared, to, [(r["file"], r["landmark"], "database") for r in photos])


def link_ukbench(shared: Path, to: Path) -> Path:
    """Make a folder of links named ukbenchNNNNN.jpg, as the publisher names them; returns `to`."""
    to.mkdir(parents=True, exist_ok=True)
    for record in read_records(shared):
        if record["split"] == "ukb_eval":
            name = Path(record["file"]).name.partition("_")[0]  # ukbench00001_d76cfe26.jpg
            link = to / f"{name}.jpg"
            link.unlink(missing_ok=True)
            link.symlink_to((shared / "photos" / record["file"]).resolve())
    return to


def _training_photos(records: list[Record]) -> list[Record]:
    return [r for r in records if r["split"] in ("train", "train_loose")]


def _distractors(records: list[Record]) -> Iterable[tuple[str, str, str]]:
    return ((r["file"], "", "distractor") for r in records if r["split"] == "distractor")


def _write_csv(shared: Path, to: Path, rows: Iterable[tuple[str, str, str]]) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    photos = (shared / "photos").resolve()
    with to.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "file", "label", "role"))
        writer.writerows((name, photos / name, label, role) for name, label, role in rows)
    return to


def main() -> None:
    """Write every set."""
    parser = argparse.ArgumentParser(description="Write the shared photos as data sets that meisho reads.")
    parser.add_argument("shared", type=Path, help="the folder with photos.csv")
    parser.add_argument("to", type=Path, help="the folder to write to")
    arguments = parser.parse_args()
    print(write_eval_csv(arguments.shared, arguments.to / "eval.csv"))
    for path in write_training_csvs(arguments.shared, arguments.to):
        print(path)
    print(link_ukbench(arguments.shared, arguments.to / "ukbench"))


if __name__ == "__main__":
    main()
