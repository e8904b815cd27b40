"""`meisho datasets look`, `stats` and `split`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from meisho.cli.app import note, out, own_command, print_json, say, shell_line, strong, tell
from meisho.cli.bars import progress_bars
from meisho.cli.datasets import datasets_app, default_root
from meisho.cli.options import LARGEST_SEED, MANY, Json
from meisho.errors import InputError
from meisho.outputs import COPIES, FIGURE, check_output_folder, check_outputs, check_page
from meisho.tables import require_name
from meisho.texts import count, printable

if TYPE_CHECKING:  # they take long to import
    from meisho.datasets.duplicates import PhotoStatistics
    from meisho.datasets.photo_facts import PhotoFacts
    from meisho.datasets.splitting import Split
    from meisho.datasets.statistics import ClassStatistics, HistogramBar

_BAR_CELLS = 40
_SHOWN = 5
_FILES = {"histogram.png": FIGURE, "histogram.svg": FIGURE, "copies.csv": COPIES}

Root = Annotated[
    Path | None,
    typer.Option(metavar="PLACE", help="Folder of the data set, or its table. Default: data/NAME."),
]


MinPhotos = Annotated[
    int, typer.Option(metavar="N", min=1, max=MANY, help="Leave out classes with fewer photos.")
]
QueriesPerLandmark = Annotated[
    int, typer.Option(metavar="N", min=1, max=MANY, help="Queries of each class that is held out.")
]


NearBits = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        max=7,
        help="Photos whose 64-bit hashes differ in at most this many bits are near copies. Default: 6.",
    ),
]
Kind = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="landmark: hold out whole classes, as queries and database; image: hold out one photo of "
        "each class, as the chapter does; none: everything trains.",
    ),
]
Without = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="List of classes to leave out, one per line, such as those of a benchmark's queries.",
    ),
]


@datasets_app.command("look", short_help="Write a page with photos of some landmarks.")
def look(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="gldv2_train, gldv2_clean, gldv2_micro, folder, csv or any data set."
        ),
    ],
    root: Root = None,
    to: Annotated[Path, typer.Option(metavar="FILE", help="The page, .html.")] = Path("look.html"),
    landmarks: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Landmarks to show.")] = 12,
    photos: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Photos of each, with the query.")
    ] = 5,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, max=LARGEST_SEED, help="Seed of the random draw.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Write a page with photos of some landmarks: look at data before you train on them.

    Example: meisho datasets look gldv2_micro --root data/gldv2_micro --to look.html
    """
    from meisho.datasets.base import DATASETS
    from meisho.datasets.labels import LABELLED
    from meisho.datasets.looking import sample_dataset
    from meisho.web.look import write_look_page

    require_name(name, dict.fromkeys([*LABELLED, *DATASETS]), what="data set")
    root = root or default_root(name)
    check_page(to, inputs=[root])
    sample = sample_dataset(name, root, landmarks=landmarks, photos=photos, seed=seed)
    unread = write_look_page(to, sample, seed=seed)
    if as_json:
        shown = [
            {"title": each.title, "photos": [photo.id for photo in each.photos]} for each in sample.landmarks
        ]
        print_json({"page": to, "name": sample.name, "landmarks": shown, "unread": unread})
        return
    say(strong(sample.name), f": {sample.about}")
    if unread:
        note(f"{count(unread, 'photo')} cannot be read; the page says why")
    say("Look at them: ", strong(to))


@datasets_app.command("stats", short_help="Count the photos of each class; find what is wrong.")
def stats(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="gldv2_train, gldv2_clean, gldv2_micro, folder or csv; with --photos, any data set.",
        ),
    ],
    root: Root = None,
    photos: Annotated[
        bool,
        typer.Option("--photos", help="Also read every photo: sizes, broken files, copies."),
    ] = False,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="TABLE",
            help="Another table, such as val.csv, in which to look for copies too; repeat for more.",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for histogram.png, histogram.svg and copies.csv."),
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", min=1, max=256, help="Threads that read photos.")] = 2,
    near_bits: NearBits = None,
    as_json: Json = False,
) -> None:
    """Count the photos of each class; with --photos, find what is wrong with them.

    Example: meisho datasets stats gldv2_micro --root data/gldv2_micro --to runs/stats

    Example: meisho datasets stats csv --root split/train.csv --beside split/val.csv --photos
    """
    from meisho.datasets.base import DATASETS
    from meisho.datasets.labels import LABELLED, is_labelled

    require_name(name, dict.fromkeys([*LABELLED, *DATASETS]), what="data set")
    root = root or default_root(name)
    if beside and not photos:
        raise InputError("--beside names tables to look for copies in; add --photos")
    if not is_labelled(name) and not photos:
        raise InputError(f"{name} has no classes to count; add --photos to look at its photos")
    if to:
        check_outputs(to, _FILES, inputs=[root, *(beside or ())])
    facts: dict[str, object] = {"name": name, "root": root}
    read = _read_photos(name, root, tuple(beside or ()), workers) if photos else ()
    if is_labelled(name):
        facts |= _show_classes(name, root, to, quiet=as_json)
    if photos:
        facts |= _show_photos(read, to, near_bits, quiet=as_json)
    if as_json:
        print_json(facts)


def _show_classes(name: str, root: Path, to: Path | None, *, quiet: bool) -> dict[str, object]:
    from meisho.datasets.labels import load_labels
    from meisho.datasets.statistics import count_bars, describe_classes

    if to:
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
        "pictures": pictures,
    }


def _print_classes(source: Path, statistics: "ClassStatistics", bars: Sequence["HistogramBar"]) -> None:
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
        table.add_row(Text(title, style="dim"), printable(text))
    out.print_table(table)
    _print_bars(bars)


def _print_bars(bars: Sequence["HistogramBar"]) -> None:
    most = max(bar.num_classes for bar in bars)
    table = Table("photos", "classes", "", box=None, pad_edge=False, header_style="dim")
    table.columns[0].justify = table.columns[1].justify = "right"
    for bar in bars:
        cells = max(1 if bar.num_classes else 0, round(_BAR_CELLS * bar.num_classes / most))
        table.add_row(bar.label, f"{bar.num_classes:,}", Text("█" * cells, style="cyan"))
    out.print_table(table)


def _print_pictures(pictures: list[Path]) -> None:
    if pictures:
        say("Look at the histogram: ", strong(pictures[0]), " and ", strong(pictures[1].name))


def _read_photos(name: str, root: Path, beside: tuple[Path, ...], workers: int) -> tuple["PhotoFacts", ...]:
    from meisho.datasets.photo_facts import examine_photos, list_photos

    listed = list_photos(name, root, beside=beside)
    with progress_bars() as report:
        return examine_photos(listed, num_workers=workers, progress=report)


def _show_photos(
    facts: Sequence["PhotoFacts"], to: Path | None, near_bits: int | None, *, quiet: bool
) -> dict[str, object]:
    from meisho.datasets.duplicates import NEAR_BITS, describe_photos, write_copies

    statistics = describe_photos(facts, near_bits=NEAR_BITS if near_bits is None else near_bits)
    copies = to / "copies.csv" if to else None
    if copies:
        write_copies(statistics.copies, facts, copies)
    if not quiet:
        _print_photos(statistics, facts, copies)
    return {"photos": _photos_json(statistics), "copies": copies}


def _print_photos(statistics: "PhotoStatistics", facts: Sequence["PhotoFacts"], copies: Path | None) -> None:
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
        groups = count(statistics.count(exact=exact), "group")
        rows.append((title, f"{groups}; {', '.join(across)}"))
    table = Table(box=None, pad_edge=False, show_header=False)
    for title, text in rows:
        table.add_row(Text(title, style="dim"), printable(text))
    out.print_table(table)
    for photo in statistics.broken[:_SHOWN]:
        tell(("broken ", "yellow"), f"{photo.path}: {photo.error}")
    if len(statistics.broken) > _SHOWN:
        tell(f"... and {len(statistics.broken) - _SHOWN:,} more")
    _print_copies(statistics, facts, copies)


def _print_copies(statistics: "PhotoStatistics", facts: Sequence["PhotoFacts"], copies: Path | None) -> None:
    worst = sorted(statistics.copies, key=lambda group: (not group.crosses_parts, not group.crosses_labels))
    for group in worst[:_SHOWN]:
        kind = "exact" if group.exact else "near"
        names = ", ".join(f"{facts[row].path} ({facts[row].part})" for row in group.rows[:3])
        more = f" and {len(group.rows) - 3} more" if len(group.rows) > 3 else ""
        say((f"{kind} copies ", "yellow"), f"{names}{more}")
    if copies:
        say("All copies: ", strong(copies))
    elif len(worst) > _SHOWN:
        say(f"... and {count(len(worst) - _SHOWN, 'more group')}; write all of them with --to FOLDER")


def _photos_json(statistics: "PhotoStatistics") -> dict[str, object]:
    kinds = {"exact": True, "near": False}
    return {
        "photos": statistics.num_photos,
        "bytes": statistics.num_bytes,
        "broken": [{"path": photo.path, "error": photo.error} for photo in statistics.broken],
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


@datasets_app.command("split", short_help="Split labelled photos for training and validation.")
def split(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="gldv2_train, gldv2_clean, gldv2_micro, folder or csv.")
    ],
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for train.csv, val.csv and split.json.")],
    root: Root = None,
    kind: Kind = "landmark",
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, max=LARGEST_SEED, help="Seed of the random draw.")
    ] = 1,
    without: Without = None,
    min_photos: MinPhotos = 1,
    landmarks: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=MANY,
            help="Number of classes to hold out. Default: a tenth, at most 1,000.",
        ),
    ] = None,
    queries_per_landmark: QueriesPerLandmark = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files of an earlier split.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Split labelled photos for training and validation; the same seed gives the same split.

    Example: meisho datasets split gldv2_micro --root data/gldv2_micro --to split

    Example: meisho datasets split gldv2_clean --root data/gldv2 --without overlap.txt --to split
    """
    from meisho.datasets.labels import LABELLED, load_labels, read_landmarks
    from meisho.datasets.splitting import list_files, parse_kind, split_labels, write_split

    require_name(name, LABELLED, what="set of labelled photos")
    root = root or default_root(name)
    check_output_folder(to)
    inputs = filter(None, (root, without))  # refused before millions of rows are read
    list_files(parse_kind(kind), to, overwrite=overwrite, inputs=inputs)
    unwanted = read_landmarks(without) if without else frozenset[str]()
    done = split_labels(
        load_labels(name, root),
        parse_kind(kind),
        seed=seed,
        without=unwanted,
        min_photos=min_photos,
        landmarks=landmarks,
        queries_per_landmark=queries_per_landmark,
    )
    files = write_split(done, to, overwrite=overwrite)
    if as_json:
        print_json({**_split_json(done), "files": files})
    else:
        _print_split(done, files)


def _split_json(done: "Split") -> dict[str, object]:
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


def _print_split(done: "Split", files: tuple[Path, ...]) -> None:
    photos = count(len(done.train), "photo")
    say(strong(files[0]), f": {photos} of {_classes(done.num_train_classes)}")
    if done.kind == "landmark":
        queries = count(len(done.queries), "query")
        database = count(len(done.database), "database photo")
        others = count(done.num_validation_classes, "other class")
        say(strong(files[1]), f": {queries}, {database} of {others}")
    elif done.kind == "image":
        say(strong(files[1]), f": {count(len(done.queries), 'photo')}, one of each class")
    if done.left_out:
        say(f"Left out: {count(done.left_out, 'photo')}")
    if done.kind == "image" and done.num_untrained:
        note(
            f"{_classes(done.num_untrained)} had one photo, which is now for validation: none is left to "
            "train on; --min-photos 2 leaves such classes out"
        )
    if done.num_unknown:
        verb = "is" if done.num_unknown == 1 else "are"
        note(f"{_classes(done.num_unknown)} to leave out {verb} not in this data set")
    if done.kind == "landmark":
        say("Score a model: ", shell_line(own_command(), "evaluate", "csv", "--root", files[1]))


def _classes(number: int) -> str:
    return count(number, "class")
