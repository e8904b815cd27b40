"""The real photos in ../shared/data as data sets: for measuring, and for choosing defaults.

    python benchmarks/shared_sets.py ../shared/data /tmp/sets

writes one CSV per set, each of which `--dataset csv` reads (see `meisho.datasets.csv_table`):

- `eval.csv`: 63 queries against gallery + junk + distractors. Report on it, never choose by it.
- `validation.csv`: the same kind of set from the split `train`, whose landmarks are others. Choose by it.

UKBench comes as a folder of links with the names of the publisher, for `--dataset ukbench`.
"""

import argparse
import csv
from collections import defaultdict
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


def write_validation_csv(shared: Path, to: Path, *, every: int = 6, distractors: bool = True) -> Path:
    """Write the split `train` as a table for `load_csv_table`; returns `to`.

    Args:
        shared: The folder of the shared data.
        to: The CSV file to write.
        every: A landmark's photos 0, every, 2 · every, ... are queries; the others are the database.
        distractors: Add the split `distractor` to the database, as `eval` has it.
    """
    records = read_records(shared)
    seen: defaultdict[str, int] = defaultdict(int)
    rows = []
    for record in records:
        if record["split"] == "train":
            role = "database" if seen[record["landmark"]] % every else "query"
            seen[record["landmark"]] += 1
            rows.append((record["file"], record["landmark"], role))
    return _write_csv(shared, to, [*rows, *(_distractors(records) if distractors else [])])


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
    print(write_validation_csv(arguments.shared, arguments.to / "validation.csv"))
    print(link_ukbench(arguments.shared, arguments.to / "ukbench"))


if __name__ == "__main__":
    main()
