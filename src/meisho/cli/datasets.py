"""`meisho datasets`: the group of commands that get, check, look at and split data sets."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from meisho.cli.app import app, err, note, own_command, print_json, say, shell_line, strong
from meisho.cli.bars import showing
from meisho.cli.options import Json
from meisho.errors import DatasetError, InputError
from meisho.fetching.manifest import DataFile, Manifest, load_manifest, manifest_names, say_bytes
from meisho.outputs import check_output_folder
from meisho.tables import require_name
from meisho.texts import count, printable

if TYPE_CHECKING:  # they take long to import
    from meisho.datasets.checking import LoadCheck
    from meisho.fetching.checking import FileStatus
    from meisho.fetching.getting import FetchSummary

datasets_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Download, check, look at and split data sets.",
)
app.add_typer(datasets_app, name="datasets")

_SHOWN = 10


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A name that 'meisho datasets list' shows, or a manifest's .json file."
    ),
]


@datasets_app.command("list", short_help="List the data sets that can be downloaded or loaded.")
def list_datasets(as_json: Json = False) -> None:
    """List the data sets that can be downloaded by name, and those that can be loaded.

    Example: meisho datasets list
    """
    from meisho.datasets.base import DATASETS

    manifests = [load_manifest(name) for name in manifest_names()]
    if as_json:
        print_json({"get": [_manifest_facts(manifest) for manifest in manifests], "load": list(DATASETS)})
        return
    for manifest in manifests:
        sizes = ", ".join(_part_text(manifest, part) for part in manifest.parts)
        say(strong(manifest.name), f"  {manifest.title}")
        facts = (f"about {sizes}", f"licence: {manifest.licence}", manifest.homepage, manifest.note)
        for fact in filter(None, facts):
            say((f"  {fact}", "dim"))
        say()
    say("Download one: ", strong(shell_line(own_command(), "datasets", "get", "NAME", "--to", "data/NAME")))
    say("Also loaded:  ", ", ".join(DATASETS))


@datasets_app.command("get")
def get(
    name: Name,
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of the data set. Default: data/NAME.")
    ] = None,
    part: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="One part of it; repeat for more.")
    ] = None,
    shards: Annotated[
        str | None, typer.Option(metavar="NUMBERS", help="Only these shards, such as 0-3,7.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="NUMBERS", help="Unpack only the photos of these landmarks, such as 17,4053."),
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="Folder or address that has the files, instead of their publishers."
        ),
    ] = None,
    parallel: Annotated[int, typer.Option(metavar="N", min=1, max=32, help="Files to download at once.")] = 4,
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives", help="Do not delete archives after unpacking.")
    ] = False,
    ignore_space: Annotated[
        bool, typer.Option("--ignore-space", help="Start even if the disk seems too small.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be downloaded, and where to.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Download a data set, verify it and unpack it. Run it again to continue after a stop.

    Example: meisho datasets get roxford5k --to data/roxford5k

    Example: meisho datasets get gldv2 --part train --part clean --shards 0-3 --to data/gldv2
    """
    from meisho.fetching.getting import FetchOptions, get_dataset
    from meisho.fetching.selection import Selection, parse_classes, parse_shards, select_files

    manifest = load_manifest(name)
    root = to or Path("data") / manifest.name
    check_output_folder(root)
    _check_mirror(mirror)
    numbers = parse_shards(shards) if shards else None
    selection = Selection(tuple(part or ()), numbers, parse_classes(classes) if classes else None)
    files = select_files(manifest, selection)
    if dry_run:
        _show_plan(manifest, root, files, as_json)
        return
    options = FetchOptions(mirror, parallel, keep_archives, not ignore_space)
    with _transfer_bars() as report:
        summary = get_dataset(manifest, root, selection, options, progress=report)
    if as_json:
        print_json({**asdict(summary), "root": str(summary.root)})
    else:
        _print_summary(manifest, summary)


@datasets_app.command("check", short_help="Check that a data set is complete.")
def check(
    name: Name,
    root: Annotated[
        Path | None, typer.Option(metavar="PLACE", help="Its folder, or its CSV file. Default: data/NAME.")
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every downloaded file and compare its checksum.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check that a data set is complete: what was downloaded, and every photo that it names.

    Example: meisho datasets check roxford5k --root data/roxford5k --deep
    """
    from meisho.datasets.base import DATASETS
    from meisho.datasets.checking import check_loading
    from meisho.datasets.labels import TABLES
    from meisho.fetching.checking import check_files, is_loadable

    is_published = name in manifest_names() or name.endswith(".json")
    if not is_published:
        require_name(name, dict.fromkeys([*manifest_names(), *DATASETS, *TABLES]), what="data set")
    manifest = load_manifest(name) if is_published else None
    root = root or default_root(name if manifest is None else manifest.name)
    if not root.exists():
        raise InputError(f"{root}: is not there; give the data set's folder with --root")
    statuses = check_files(manifest, root, deep=deep) if manifest else ()
    names = _names_to_load(manifest) if manifest else (name,)
    is_wanted = manifest is None or is_loadable(manifest, root)
    loads = [check_loading(loader, root) for loader in (names if is_wanted else ())]
    if as_json:
        print_json({"root": root, "files": statuses, "loads": loads})
    else:
        _print_check(statuses, loads)
        if not manifest and not loads[0].error:
            say("Whether each can be read: ", strong(_reading_line(name, root)))
    _raise_if_broken(root, statuses, loads, is_own=not manifest)


def _check_mirror(mirror: str | None) -> None:
    if mirror and not mirror.startswith(("http://", "https://")) and not Path(mirror).is_dir():
        raise InputError(f"--mirror {mirror}: is neither a folder nor an https:// address")


def default_root(name: str) -> Path:
    """Return the folder of a data set where no `--root` is given.

    Raises:
        InputError: It has none: your own photos may lie anywhere.
    """
    if name in ("folder", "csv"):
        raise InputError(f"say where the {name} is with --root")
    return Path("data") / ("gldv2" if name in ("gldv2_train", "gldv2_clean") else name)


def _names_to_load(manifest: Manifest) -> tuple[str, ...]:
    """Return by which names a published data set is loaded: to be scored on, or to be trained on."""
    from meisho.datasets.labels import TABLES

    return manifest.loaders or ((manifest.name,) if manifest.name in TABLES else ())


def _reading_line(name: str, root: Path) -> str:
    return shell_line(own_command(), "datasets", "stats", name, "--root", root, "--photos")


def _print_check(statuses: Sequence["FileStatus"], loads: Sequence["LoadCheck"]) -> None:
    bad = [status for status in statuses if status.is_good is False]
    shown = bad or statuses
    for status in shown[:_SHOWN]:
        mark = {True: ("✓ ", "green"), False: ("✗ ", "bold red"), None: ("? ", "yellow")}[status.is_good]
        say(mark, strong(status.path), f": {status.state}")
    if len(shown) > _SHOWN:
        say(f"  ... and {len(shown) - _SHOWN:,} more")
    if bad and len(bad) < len(statuses):
        say(f"  the other {len(statuses) - len(bad):,} of {count(len(statuses), 'file')} are as they must be")
    for load in loads:
        _print_load(load)


def _print_load(load: "LoadCheck") -> None:
    if load.error:
        say(("✗ ", "bold red"), f"it does not load as {load.name}: {load.error}")
        return
    mark = ("✗ ", "bold red") if load.missing else ("✓ ", "green")
    counts = ", ".join(f"{number:,} {what}" for what, number in load.counts.items())
    number = len(load.missing)
    photos = f"{count(number, 'photo')} missing:" if number else "every photo is there"
    say(mark, f"it loads as {load.name}: {counts}; {photos}")
    for path in load.missing[:_SHOWN]:
        say(f"    {path}")
    if number > _SHOWN:
        say(f"    ... and {number - _SHOWN:,} more")


def _raise_if_broken(
    root: Path, statuses: Sequence["FileStatus"], loads: Sequence["LoadCheck"], *, is_own: bool
) -> None:
    bad = [status for status in statuses if status.is_good is False]
    missing = sum(len(load.missing) for load in loads)
    unloaded = [load.name for load in loads if load.error]
    unsure = not loads and any(status.is_good is None for status in statuses)
    faults = [
        f"{count(len(bad), 'file')} missing or altered" if bad else "",
        f"{count(missing, 'photo')} missing" if missing else "",
        f"it does not load as {', '.join(unloaded)}" if unloaded else "",
        "nothing of it was downloaded here" if unsure else "",
    ]
    if any(faults):
        advice = "mend what is named above" if is_own else "run 'meisho datasets get' to mend it"
        raise DatasetError(f"{root}: {'; '.join(filter(None, faults))}; {advice}")


def _show_plan(manifest: Manifest, root: Path, files: Sequence[DataFile], as_json: bool) -> None:
    if as_json:
        plan = [_planned_facts(file, root) for file in files]
        print_json({"name": manifest.name, "licence": manifest.licence, "files": plan})
        return
    for file in files:
        say(strong(file.path), f"  {say_bytes(file.expected_bytes)}  -> {file.place(root)}")
        for source in _sources(file):
            say((f"    {source}", "dim"))
    total = sum(file.expected_bytes for file in files)
    say(f"{count(len(files), 'file')}, about {say_bytes(total)}; licence: {manifest.licence}")


def _sources(file: DataFile) -> list[str]:
    return list(file.urls) or [f"kaggle:{file.kaggle}"]


def _planned_facts(file: DataFile, root: Path) -> dict[str, object]:
    return {
        "path": file.path,
        "bytes": file.size_bytes,
        "about_bytes": file.expected_bytes,
        "sources": _sources(file),
        "checksum": file.sha256 or file.md5 or (f"in {file.md5_in}" if file.md5_in else None),
        "place": file.place(root),
    }


def _print_summary(manifest: Manifest, summary: "FetchSummary") -> None:
    from meisho.fetching.checking import is_loadable

    parts = [
        (len(summary.fetched), "downloaded"),
        (len(summary.kept), "there already"),
        (summary.num_members, "unpacked"),
    ]
    done = ", ".join(f"{count:,} {what}" for count, what in parts if count)
    say(strong(manifest.name), " is in ", strong(summary.root), f" ({done}; {summary.seconds:.1f} s)")
    say(f"Licence: {manifest.licence}")
    if summary.trusted:
        note(
            f"nobody publishes a checksum of {_some(summary.trusted)}; the first download is trusted, "
            "and its SHA-256 recorded"
        )
    for loader in manifest.loaders[:1] if is_loadable(manifest, summary.root) else ():
        say("Score a model: ", shell_line(own_command(), "evaluate", loader, "--root", summary.root))


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _manifest_facts(manifest: Manifest) -> dict[str, object]:
    return {
        "name": manifest.name,
        "title": manifest.title,
        "licence": manifest.licence,
        "homepage": manifest.homepage,
        "note": manifest.note,
        "parts": {part: manifest.part_bytes(part) for part in manifest.parts},
        "default_parts": list(manifest.default_parts),
        "files": len(manifest.all_files),
    }


def _part_text(manifest: Manifest, part: str) -> str:
    size = say_bytes(manifest.part_bytes(part))
    return size if len(manifest.parts) == 1 else f"{part} {size}"


@contextmanager
def _transfer_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar on stderr per file that is on its way, and one for all."""
    bars = Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=err,
    )
    tasks: dict[str, TaskID] = {}

    def report(stage: str, done: int, total: int) -> None:
        what, _, path = stage.partition(" ")
        if what == "done":
            for other in (f"download {path}", f"unpack {path}"):
                if other in tasks:
                    bars.remove_task(tasks.pop(other))
            return
        if stage not in tasks:
            tasks[stage] = bars.add_task(printable(stage), total=total or None)
            bars.start()
        bars.update(tasks[stage], completed=done, total=total or None)

    with showing(bars):
        yield report
