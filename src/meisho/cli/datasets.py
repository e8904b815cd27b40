"""`meisho datasets`: the group of commands that get, check, look at and split data sets."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

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
from rich.text import Text

from meisho.cli.app import Json, app, err, out, own_command, print_json, say, shell_line, strong
from meisho.errors import DatasetError, InputError
from meisho.fetching.manifest import load_manifest, manifest_names, say_bytes
from meisho.tables import require_name

datasets_app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Get, check, look at and split data sets.",
)
app.add_typer(datasets_app, name="datasets")

_SHOWN = 10


@datasets_app.command("list")
def list_datasets(as_json: Json = False) -> None:
    """List the data sets that can be got by name, and those that can be loaded.

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
        say(("".join(f"  {fact}\n" for fact in facts if fact), "dim"))
    say("Get one:      ", strong(shell_line(own_command(), "datasets", "get", "NAME", "--to", "data/NAME")))
    say("Also loaded:  ", ", ".join(DATASETS))


@datasets_app.command("get")
def get(
    name: Annotated[
        str, typer.Argument(help="A name from 'meisho datasets list', or a manifest's .json file.")
    ],
    to: Annotated[Path | None, typer.Option(help="The data set's folder; data/NAME when not given.")] = None,
    part: Annotated[list[str] | None, typer.Option(help="A part of it; may be given several times.")] = None,
    shards: Annotated[str | None, typer.Option(help="Only these shards, such as 0-3,7.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Unpack only photos of these landmark numbers, such as 17,4053.")
    ] = None,
    mirror: Annotated[
        str | None,
        typer.Option(help="A folder or address that holds the files, instead of their publishers."),
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, max=32, help="Files at once.")] = 4,
    keep_archives: Annotated[bool, typer.Option(help="Keep archives once they are unpacked.")] = False,
    check_space: Annotated[
        bool, typer.Option(help="Refuse what will not fit on the disk, as far as sizes are known.")
    ] = True,
    dry_run: Annotated[bool, typer.Option(help="Show what would be got, and where it goes.")] = False,
    as_json: Json = False,
) -> None:
    """Download a data set, verify it and unpack it; run it again to go on where it was.

    Example: meisho datasets get roxford5k --to data/roxford5k

    Example: meisho datasets get gldv2 --part train --part clean --shards 0-3 --to data/gldv2
    """
    from meisho.fetching.getting import FetchOptions, get_dataset
    from meisho.fetching.selection import Selection, parse_classes, parse_shards, select_files

    manifest = load_manifest(name)
    root = to or Path("data") / manifest.name
    selection = Selection(
        tuple(part or ()),
        parse_shards(shards) if shards else None,
        parse_classes(classes) if classes else None,
    )
    if dry_run:
        _show_plan(manifest, root, select_files(manifest, selection), as_json)
        return
    if mirror and not mirror.startswith(("http://", "https://")) and not Path(mirror).is_dir():
        raise InputError(f"--mirror {mirror}: is neither a folder nor an https:// address")
    options = FetchOptions(mirror, parallel, keep_archives, check_space)
    with _transfer_bars() as report:
        summary = get_dataset(manifest, root, selection, options, progress=report)
    if as_json:
        print_json({**asdict(summary), "root": str(summary.root)})
    else:
        _print_summary(manifest, summary)


@datasets_app.command("check")
def check(
    name: Annotated[str, typer.Argument(help="A data set's name, or a manifest's .json file.")],
    root: Annotated[
        Path | None, typer.Option(help="Its folder, or CSV file; data/NAME when not given.")
    ] = None,
    deep: Annotated[bool, typer.Option(help="Read every file and compare its checksum.")] = False,
    as_json: Json = False,
) -> None:
    """Check that a data set is whole: what was got, and every photo that its ground truth names.

    Example: meisho datasets check roxford5k --root data/roxford5k --deep
    """
    from meisho.datasets.base import DATASETS
    from meisho.fetching.checking import check_files, is_loadable

    is_known = name in manifest_names() or name.endswith(".json")
    if not is_known:
        require_name(name, DATASETS, what="data set")
    manifest = load_manifest(name) if is_known else None
    root = root or Path("data") / (manifest.name if manifest else name)
    if not root.exists():
        raise InputError(f"{root}: is not there; give the data set's folder with --root")
    statuses = check_files(manifest, root, deep=deep) if manifest else ()
    names = manifest.loaders if manifest else (name,)
    wanted = names if not manifest or is_loadable(manifest, root) else ()
    loaders = [_try_loader(loader, root) for loader in wanted]
    if as_json:
        print_json({"root": str(root), "files": [asdict(status) for status in statuses], "loaders": loaders})
    else:
        _print_check(statuses, loaders)
        if not manifest and not loaders[0]["error"]:
            say("Whether each can be read: ", strong(_reading_line(name, root)))
    _raise_if_broken(root, statuses, loaders, is_own=not manifest)


def _reading_line(name: str, root: Path) -> str:
    return shell_line(own_command(), "datasets", "stats", name, "--root", root, "--photos")


def _try_loader(loader: str, root: Path) -> dict[str, Any]:
    """Load a data set and look for its photos."""
    from meisho.datasets.base import load_dataset
    from meisho.datasets.photo_files import missing_photos

    try:
        dataset = load_dataset(loader, root)
    except DatasetError as error:
        return {"loader": loader, "error": str(error), "missing": []}
    missing = [str(photo.path) for photo in missing_photos(dataset)]
    facts = {"queries": len(dataset.queries), "database": len(dataset.database)}
    return {"loader": loader, **facts, "error": "", "missing": missing}


def _print_check(statuses: Any, loaders: list[dict[str, Any]]) -> None:
    bad = [status for status in statuses if status.is_good is False]
    shown = bad or statuses
    for status in shown[:_SHOWN]:
        mark = {True: ("✓ ", "green"), False: ("✗ ", "bold red"), None: ("? ", "yellow")}[status.is_good]
        say(mark, strong(status.path), f": {status.state}")
    if len(shown) > _SHOWN:
        say(f"  ... and {len(shown) - _SHOWN:,} more")
    if bad and len(bad) < len(statuses):
        say(f"  the other {len(statuses) - len(bad):,} of {_count(len(statuses), 'file')} as must be")
    for facts in loaders:
        _print_loader(facts)


def _print_loader(facts: dict[str, Any]) -> None:
    if facts["error"]:
        say(("✗ ", "bold red"), f"it does not load as {facts['loader']}: {facts['error']}")
        return
    missing = facts["missing"]
    mark = ("✗ ", "bold red") if missing else ("✓ ", "green")
    counts = f"{facts['queries']:,} queries, {facts['database']:,} database photos"
    photos = f"{_count(len(missing), 'photo')} missing:" if missing else "every photo is there"
    say(mark, f"it loads as {facts['loader']}: {counts}; {photos}")
    for path in missing[:_SHOWN]:
        say(f"    {path}")
    if len(missing) > _SHOWN:
        say(f"    ... and {len(missing) - _SHOWN:,} more")


def _raise_if_broken(root: Path, statuses: Any, loaders: list[dict[str, Any]], *, is_own: bool) -> None:
    bad = [status for status in statuses if status.is_good is False]
    missing = sum(len(facts["missing"]) for facts in loaders)
    unloaded = [facts["loader"] for facts in loaders if facts["error"]]
    unsure = not loaders and any(status.is_good is None for status in statuses)
    faults = [
        f"{_count(len(bad), 'file')} missing or altered" if bad else "",
        f"{_count(missing, 'photo')} missing" if missing else "",
        f"it does not load as {', '.join(unloaded)}" if unloaded else "",
        "nothing of it was got here" if unsure else "",
    ]
    if any(faults):
        advice = "mend what is named above" if is_own else "run 'meisho datasets get' to mend it"
        raise DatasetError(f"{root}: {'; '.join(filter(None, faults))}; {advice}")


def _show_plan(manifest: Any, root: Path, files: Any, as_json: bool) -> None:
    plan = [
        {
            "path": file.path,
            "bytes": file.size_bytes,
            "about_bytes": file.expected_bytes,
            "sources": list(file.urls) or [f"kaggle:{file.kaggle}"],
            "checksum": file.sha256 or file.md5 or (f"in {file.md5_in}" if file.md5_in else None),
            "place": str(file.place(root)),
        }
        for file in files
    ]
    if as_json:
        print_json({"name": manifest.name, "licence": manifest.licence, "files": plan})
        return
    for facts in plan:
        say(strong(facts["path"]), f"  {say_bytes(facts['about_bytes'])}  -> {facts['place']}")
        for source in facts["sources"]:
            out.print(Text(f"    {source}", style="dim"))
    total = sum(file.expected_bytes for file in files)
    say(f"{len(files):,} files, about {say_bytes(total)}; licence: {manifest.licence}")


def _print_summary(manifest: Any, summary: Any) -> None:
    from meisho.fetching.checking import is_loadable

    parts = [
        (len(summary.fetched), "got"),
        (len(summary.kept), "there already"),
        (summary.num_members, "unpacked"),
    ]
    done = ", ".join(f"{count:,} {what}" for count, what in parts if count)
    say(strong(manifest.name), " is in ", strong(summary.root), f" ({done}; {summary.seconds:.1f} s)")
    say(f"Licence: {manifest.licence}")
    if summary.trusted:
        err.print(
            Text.assemble(
                ("note: ", "bold yellow"),
                f"nobody gives a checksum of {_some(summary.trusted)}; the first download is trusted, "
                "and its SHA-256 recorded",
            )
        )
    for loader in manifest.loaders[:1] if is_loadable(manifest, summary.root) else ():
        say("Score a model: ", shell_line(own_command(), "evaluate", loader, "--root", summary.root))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _manifest_facts(manifest: Any) -> dict[str, Any]:
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


def _part_text(manifest: Any, part: str) -> str:
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
            tasks[stage] = bars.add_task(stage, total=total or None)
        bars.update(tasks[stage], completed=done, total=total or None)

    with bars:
        yield report
