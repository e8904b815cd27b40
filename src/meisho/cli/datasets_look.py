"""`meisho datasets stats` and `meisho datasets split`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from meisho.cli.app import Json, err, out, own_command, print_json, progress_bars, say, shell_line, strong
from meisho.cli.datasets import datasets_app
from meisho.errors import InputError

_BAR_CELLS = 40
_SHOWN = 5

Name = Annotated[
    str,
    typer.Argument(help="gldv2_train, gldv2_clean, gldv2_micro, folder or csv; for --photos any data set."),
]
Root = Annotated[
    Path | None, typer.Option(help="The data set's folder, or the table; data/NAME when not given.")
]


@datasets_app.command("stats")
def stats(
    name: Name,
    root: Root = None,
    photos: Annotated[
        bool, typer.Option(help="Read every photo too: sizes, broken files, copies within and across parts.")
    ] = False,
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="Another table, such as val.csv, to look for copies across; may be repeated."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder for histogram.png, histogram.svg and copies.csv.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Threads that read photos.")] = 2,
    near: Annotated[
        int | None, typer.Option(min=0, max=7, help="Most bits of 64 in which near copies differ; 6.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how many photos each class has, and with --photos what is wrong with them.

    Example: meisho datasets stats gldv2_micro --root data/gldv2_micro --to runs/stats

    Example: meisho datasets stats csv --root split/train.csv --beside split/val.csv --photos
    """
    from meisho.datasets.labels import is_labelled

    root = root or _default_root(name)
    if beside and not photos:
        raise InputError("--beside names tables to look for copies across; say --photos too")
    if not is_labelled(name) and not photos:
        raise InputError(f"{name} has no classes to count; say --photos to look at its photos")
    facts: dict[str, Any] = {"name": name, "root": str(root)}
    if is_labelled(name):
        facts |= _show_classes(name, root, to, quiet=as_json)
    if photos:
        facts |= _show_photos(name, root, tuple(beside or ()), to, workers, near, quiet=as_json)
    if as_json:
        print_json(facts)


def _default_root(name: str) -> Path:
    if name in ("folder", "csv"):
        raise InputError(f"say where the {name} is with --root")
    return Path("data") / ("gldv2" if name in ("gldv2_train", "gldv2_clean") else name)


def _show_classes(name: str, root: Path, to: Path | None, *, quiet: bool) -> dict[str, Any]:
    from meisho.datasets.labels import load_labels
    from meisho.datasets.statistics import count_bars, describe_classes
    from meisho.web.histogram import draw_histogram

    labels = load_labels(name, root)
    statistics, bars = describe_classes(labels), count_bars(labels.counts)
    pictures = [to / "histogram.png", to / "histogram.svg"] if to else []
    for picture in pictures:
        title = name if name not in ("folder", "csv") else labels.source.resolve().name
        draw_histogram(labels.counts, statistics, picture, title=title)
    if not quiet:
        _print_classes(labels.source, statistics, bars)
        _print_pictures(pictures)
    return {
        "classes": asdict(statistics),
        "histogram": [asdict(bar) for bar in bars],
        "pictures": [str(picture) for picture in pictures],
    }


def _print_classes(source: Path, statistics: Any, bars: Any) -> None:
    say(
        strong(source),
        f": {statistics.num_photos:,} photos of ",
        strong(f"{statistics.num_classes:,} classes"),
    )
    half = f"{statistics.classes_for_half:,} ({statistics.classes_for_half / statistics.num_classes:.1%})"
    rows = [
        ("photos per class", f"median {statistics.median:g}, mean {statistics.mean:.2f}"),
        (
            "smallest, largest",
            f"{statistics.smallest:,}, {statistics.largest:,} ({statistics.largest_class})",
        ),
        ("of one photo only", f"{statistics.num_single:,} classes"),
        ("fewer than 5 photos", f"{statistics.share_few:.1%} of the classes"),
        ("half of the photos", f"show {half} of the classes"),
        ("Gini coefficient", f"{statistics.gini:.3f} (0: all classes of one size)"),
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    for title, text in rows:
        table.add_row(Text(title, style="dim"), Text(text))
    out.print(table)
    _print_bars(bars)


def _print_bars(bars: Any) -> None:
    most = max(bar.num_classes for bar in bars)
    table = Table("photos", "classes", "", box=None, pad_edge=False, header_style="dim")
    table.columns[0].justify = table.columns[1].justify = "right"
    for bar in bars:
        cells = max(1 if bar.num_classes else 0, round(_BAR_CELLS * bar.num_classes / most))
        table.add_row(bar.label, f"{bar.num_classes:,}", Text("█" * cells, style="cyan"))
    out.print(table)


def _print_pictures(pictures: list[Path]) -> None:
    if pictures:
        say("Look at the histogram: ", strong(pictures[0]), " and ", strong(pictures[1].name))


def _show_photos(
    name: str,
    root: Path,
    beside: tuple[Path, ...],
    to: Path | None,
    workers: int,
    near: int | None,
    *,
    quiet: bool,
) -> dict[str, Any]:
    from meisho.datasets.duplicates import NEAR_BITS, describe_photos, write_copies
    from meisho.datasets.photo_facts import examine_photos, list_photos

    listed = list_photos(name, root, beside=beside)
    with progress_bars() as report:
        facts = examine_photos(listed, num_workers=workers, progress=report)
    statistics = describe_photos(facts, near_bits=NEAR_BITS if near is None else near)
    copies = to / "copies.csv" if to else None
    if copies:
        write_copies(statistics.copies, facts, copies)
    if not quiet:
        _print_photos(statistics, facts, copies)
    return {"photos": _photos_json(statistics), "copies": str(copies) if copies else None}


def _print_photos(statistics: Any, facts: Any, copies: Path | None) -> None:
    parts: dict[str, int] = {}
    for photo in facts:
        parts[photo.part] = parts.get(photo.part, 0) + 1
    shown = ", ".join(f"{count:,} {part}" for part, count in parts.items())
    say(strong(f"{statistics.num_photos:,} photos"), f" read ({shown}), {statistics.num_bytes / 1e6:,.1f} MB")
    rows = [("broken", f"{len(statistics.broken):,}")]
    if len(statistics.broken) < statistics.num_photos:
        rows += [
            ("width, px", "{} to {}, median {}".format(*(statistics.width_px[i] for i in (0, 2, 1)))),
            ("height, px", "{} to {}, median {}".format(*(statistics.height_px[i] for i in (0, 2, 1)))),
        ]
    for exact, title in ((True, "exact copies"), (False, "near copies")):
        across = [
            f"{statistics.count(exact=exact, crossing=what):,} across {what}" for what in ("parts", "labels")
        ]
        number = statistics.count(exact=exact)
        rows.append((title, f"{number:,} group{'' if number == 1 else 's'}; {', '.join(across)}"))
    table = Table(box=None, pad_edge=False, show_header=False)
    for title, text in rows:
        table.add_row(Text(title, style="dim"), Text(text))
    out.print(table)
    for photo in statistics.broken[:_SHOWN]:
        err.print(Text.assemble(("broken ", "yellow"), f"{photo.path}: {photo.error}"))
    if len(statistics.broken) > _SHOWN:
        err.print(f"... and {len(statistics.broken) - _SHOWN:,} more")
    _print_copies(statistics, facts, copies)


def _print_copies(statistics: Any, facts: Any, copies: Path | None) -> None:
    worst = sorted(statistics.copies, key=lambda group: (not group.crosses_parts, not group.crosses_labels))
    for group in worst[:_SHOWN]:
        kind = "exact" if group.exact else "near"
        names = ", ".join(f"{facts[row].path} ({facts[row].part})" for row in group.rows[:3])
        more = f" and {len(group.rows) - 3} more" if len(group.rows) > 3 else ""
        say((f"{kind} copies ", "yellow"), f"{names}{more}")
    if copies:
        say("All copies: ", strong(copies))
    elif len(worst) > _SHOWN:
        say(f"... and {len(worst) - _SHOWN:,} more groups; write all of them with --to FOLDER")


def _photos_json(statistics: Any) -> dict[str, Any]:
    kinds = {"exact": True, "near": False}
    return {
        "photos": statistics.num_photos,
        "bytes": statistics.num_bytes,
        "broken": [{"path": str(photo.path), "error": photo.error} for photo in statistics.broken],
        "width_px": statistics.width_px,
        "height_px": statistics.height_px,
        "copies": {
            kind: {
                "groups": statistics.count(exact=exact),
                "across_parts": statistics.count(exact=exact, crossing="parts"),
                "across_labels": statistics.count(exact=exact, crossing="labels"),
            }
            for kind, exact in kinds.items()
        },
    }


@datasets_app.command("split")
def split(
    name: Name,
    to: Annotated[Path, typer.Option(help="Folder for train.csv, val.csv and split.json.")],
    root: Root = None,
    kind: Annotated[
        str,
        typer.Option(
            help="landmark: whole classes for validation, as queries and database; "
            "image: one photo of each class (the chapter's); none: everything trains."
        ),
    ] = "landmark",
    seed: Annotated[int, typer.Option(help="Draws the photos or classes.")] = 1,
    without: Annotated[
        Path | None,
        typer.Option(help="Landmarks to leave out, one id per line, such as those of a benchmark's queries."),
    ] = None,
    min_photos: Annotated[int, typer.Option(min=1, help="Leave classes with fewer photos out.")] = 1,
    landmarks: Annotated[
        int | None,
        typer.Option(min=1, help="Classes for validation; a tenth of all, at most 1,000, when not given."),
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="Queries of each of those classes.")] = 1,
    overwrite: Annotated[bool, typer.Option(help="Replace the files of an earlier split.")] = False,
    as_json: Json = False,
) -> None:
    """Split labelled photos for training and validation; the same seed gives the same split.

    Example: meisho datasets split gldv2_micro --root data/gldv2_micro --to split

    Example: meisho datasets split gldv2_clean --root data/gldv2 --without overlap.txt --to split
    """
    from meisho.datasets.labels import load_labels, read_landmarks
    from meisho.datasets.splitting import split_labels, write_split

    unwanted = read_landmarks(without) if without else frozenset[str]()
    labels = load_labels(name, root or _default_root(name))
    done = split_labels(
        labels,
        kind,  # type: ignore[arg-type]  # checked there
        seed=seed,
        without=unwanted,
        min_photos=min_photos,
        landmarks=landmarks,
        queries_per_landmark=queries,
    )
    files = write_split(done, to, overwrite=overwrite)
    if as_json:
        print_json({**_split_json(done), "files": [str(file) for file in files]})
    else:
        _print_split(done, files)


def _split_json(done: Any) -> dict[str, Any]:
    return {
        "kind": done.kind,
        "seed": done.seed,
        "train": {"photos": len(done.train), "classes": done.num_train_classes},
        "queries": len(done.queries),
        "database": len(done.database),
        "validation_classes": done.num_validation_classes,
        "untrained_classes": done.num_untrained,
        "left_out": done.left_out,
        "unknown_landmarks": done.num_unknown,
    }


def _print_split(done: Any, files: tuple[Path, ...]) -> None:
    say(strong(files[0]), f": {len(done.train):,} photos of {done.num_train_classes:,} classes")
    if done.kind == "landmark":
        say(
            strong(files[1]),
            f": {len(done.queries):,} queries, {len(done.database):,} database photos of "
            f"{done.num_validation_classes:,} other classes",
        )
    elif done.kind == "image":
        say(strong(files[1]), f": {len(done.queries):,} photos, one of each class")
    if done.left_out:
        say(f"{done.left_out:,} photos were left out")
    notes = []
    if done.kind == "image" and done.num_untrained:
        notes.append(
            f"{done.num_untrained:,} classes had one photo, which is now for validation: none is left to "
            "train on; --min-photos 2 leaves such classes out"
        )
    if done.num_unknown:
        notes.append(f"{done.num_unknown:,} of the landmarks to leave out are not in this data set")
    for note in notes:
        err.print(Text.assemble(("note: ", "bold yellow"), note))
    if done.kind == "landmark":
        say("Score a model: ", shell_line(own_command(), "evaluate", "csv", "--root", files[1]))
