"""The command line: parse, call, show."""

import json
import logging
import math
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

import meisho
from meisho.errors import ConfigError, InputError, MeishoError, SkippedPhotosError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="meisho (名所): find every photo of the same landmark or object.",
)
INTERRUPTED = 130
out = Console(soft_wrap=True, markup=False, highlight=False, width=None if sys.stdout.isatty() else 120)
err = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)

Model = Annotated[
    str | None,
    typer.Option(help="default, timm:NAME, a checkpoint directory, or random (evaluate only)."),
]
Weights = Annotated[
    str | None, typer.Option(help="hub, a .safetensors or weights-only .pth file, or none:SEED.")
]
Size = Annotated[int | None, typer.Option(min=32, help="Longer side of the working image, px.")]
Pooling = Annotated[str | None, typer.Option(help="gem, avg, max or cls.")]
Scales = Annotated[str | None, typer.Option(help="Image scales, for example 1,0.7071,0.5.")]
Whitening = Annotated[Path | None, typer.Option(help="A whitening made by 'meisho whiten'.")]
Precision = Annotated[str | None, typer.Option(help="float32, bf16 or fp16 (the last two on CUDA).")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Photos per batch on a GPU; a CPU takes two at once.")]
Workers = Annotated[int | None, typer.Option(min=0, help="Decoding workers; chosen when not given.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]


@app.command()
def demo(
    to: Annotated[
        Path, typer.Option(help="Folder for the drawn city, its collection and the report.")
    ] = Path("demo"),
    landmarks: Annotated[int, typer.Option(min=2, help="Landmarks to draw.")] = 48,
    views: Annotated[int, typer.Option(min=3, help="Photos of each landmark.")] = 12,
    distractors: Annotated[int, typer.Option(min=0, help="Photos of other streets.")] = 240,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw a toy city, index it, search it, score it, and write a page to look at.

    Example: meisho demo --to demo
    """
    from meisho.datasets.base import load_dataset
    from meisho.datasets.toycity import build_toycity

    city = to / "toycity"
    with _progress() as report_progress:
        build_toycity(
            city,
            landmarks=landmarks,
            views=views,
            distractors=distractors,
            progress=lambda done, total: report_progress("draw the city", done, total),
        )
        dataset = load_dataset("toycity", city)
        evaluation = _evaluate(dataset, to, _load_model(None, device=device), report_progress)
    page = _write_evaluation(evaluation, to)
    if as_json:
        _print_json({"report": str(page), **_report_json(evaluation.report)})
        return
    _print_report(evaluation.report)
    command = _own_command()
    query = dataset.queries[0].path
    question = _shell(command, "search", to / "collection", query, "--html", to / "answer.html")
    own = _shell(command, "index", "PATH/TO/YOUR/PHOTOS", "--to", "my.meisho")
    _say("\nLook at the answers:      ", strong(page))
    _say("Ask the city a question:  ", question)
    _say("Now your own photos:      ", strong(own))


@app.command()
def index(
    photos: Annotated[Path, typer.Argument(help="Folder of photos; subfolders too.")],
    to: Annotated[Path, typer.Option(help="The collection's directory; made when it is not there.")],
    model: Model = None,
    weights: Weights = None,
    size: Size = None,
    pooling: Pooling = None,
    scales: Scales = None,
    whitening: Whitening = None,
    precision: Precision = None,
    device: Device = "auto",
    index: Annotated[
        str | None, typer.Option(help="auto, exact, ivfpq or hnsw; the kind that is there, auto at first.")
    ] = None,
    local: Annotated[
        str | None, typer.Option(help="Keep local features too, for --verify: sift, xfeat or aliked.")
    ] = None,
    moved: Annotated[bool, typer.Option(help="The photo folder stands elsewhere than before.")] = False,
    batch_size: BatchSize = 16,
    workers: Workers = None,
    strict: Annotated[bool, typer.Option(help="Exit with 3 when a photo had to be skipped.")] = False,
    as_json: Json = False,
) -> None:
    """Index a folder of photos, or bring its collection up to date.

    Run it again at any time: only new and changed photos are described, and photos that are gone are removed.

    Example: meisho index ~/Pictures --to my.meisho
    """
    from meisho.run import index_folder

    options = _model_options(weights, size, pooling, scales, whitening, precision)
    extractor = _model_for(to, model, options, device)
    with _progress() as report_progress:
        summary = index_folder(
            photos,
            to,
            extractor,
            index=index,
            local_extractor=_load_local(local),
            moved=moved,
            batch_size=batch_size,
            num_workers=workers,
            progress=report_progress,
        )
    if as_json:
        _print_json(summary)
    else:
        _print_summary(summary, to)
    if strict and summary.skipped:
        raise SkippedPhotosError(f"{len(summary.skipped)} photos were skipped (--strict)")


@app.command()
def search(
    collection: Annotated[Path, typer.Argument(help="A collection made by 'meisho index'.")],
    query: Annotated[Path, typer.Argument(help="The photo to ask with.")],
    box: Annotated[
        str | None, typer.Option(help="Part of the query to use: x0,y0,x1,y1 in px of the upright photo.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many answers.")] = 10,
    verify: Annotated[
        int, typer.Option(min=0, help="Verify this many answers by local features and put them in order.")
    ] = 0,
    html: Annotated[Path | None, typer.Option(help="Write the answers as a page to look at.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Where the model's file is now, if it was moved.")
    ] = None,
    whitening: Annotated[Path | None, typer.Option(help="Where the whitening is, if it was moved.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find the photos of a collection that show what the query shows.

    Example: meisho search my.meisho tower.jpg --top 5 --html answer.html
    """
    from meisho.images import Photo
    from meisho.run import restore_extractor, search_collection
    from meisho.store import Collection

    opened = Collection.open(collection)
    photo = Photo(str(query), query, _parse_box(box) if box else None)
    places = _model_options(weights, None, None, None, whitening, None)
    extractor = restore_extractor(opened.provenance, device=device, places=places)
    ranking = search_collection(opened, [photo], extractor, top=top, reranker=_geometric(verify))
    scores = dict(zip(ranking.ids_of(0), ranking.scores[0].tolist(), strict=False))
    files = opened.files_of(list(scores))  # without those removed since the search began
    answers = [(Photo(i, files[i]), score) for i, score in scores.items() if i in files]
    if html:
        from meisho.web.pages import write_search_page

        write_search_page(html, photo, answers, collection=collection, num_database=len(ranking.database_ids))
    if as_json:
        found = [{"id": p.id, "path": str(p.path), "score": round(s, 6)} for p, s in answers]
        _print_json({"query": str(query), "answers": found})
        return
    table = Table("rank", "score", "photo", box=None, pad_edge=False, header_style="dim")
    for rank, (answer, score) in enumerate(answers, start=1):
        table.add_row(str(rank), f"{score:.4f}", Text(str(answer.path), overflow="fold"))
    out.print(table)
    if html:
        _say("\nLook at the answers: ", strong(html))


@app.command()
def evaluate(
    dataset: Annotated[
        str | None,
        typer.Argument(
            help="toycity, roxford5k, rparis6k, oxford5k, paris6k, gldv2, ukbench, folder or csv."
        ),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="The data set's folder, or the CSV file.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder for the report and descriptors; runs/DATASET when not given.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Compare two earlier evaluations by a paired test.")
    ] = None,
    model: Model = None,
    weights: Weights = None,
    size: Size = None,
    pooling: Pooling = None,
    scales: Scales = None,
    whitening: Whitening = None,
    precision: Precision = None,
    device: Device = "auto",
    batch_size: BatchSize = 16,
    workers: Workers = None,
    local: Annotated[
        str | None, typer.Option(help="Local features for reranking: sift, xfeat, aliked.")
    ] = None,
    rerank: Annotated[str | None, typer.Option(help="geometric: verify the first answers.")] = None,
    first: Annotated[int, typer.Option(min=1, help="How many answers are reranked.")] = 100,
    seed: Annotated[int, typer.Option(help="Seeds the bootstrap of the intervals.")] = 0,
    as_json: Json = False,
) -> None:
    """Score a model on a data set by that data set's own protocol, or compare two scores.

    Example: meisho evaluate roxford5k --root data/roxford5k --to runs/roxford5k

    Example: meisho evaluate --compare runs/a runs/b
    """
    if compare:
        _compare(*compare, seed=seed, as_json=as_json)
        return
    if dataset is None or root is None:
        raise InputError("give a data set and its folder, for example: meisho evaluate folder --root photos/")
    from meisho.datasets.base import load_dataset
    from meisho.run import evaluate_random

    if rerank not in (None, "geometric"):
        raise InputError(f"no reranker is called {rerank!r}; choose geometric")
    loaded = load_dataset(dataset, root)
    name = loaded.name if dataset in ("folder", "csv") else dataset
    to = to or Path("runs") / (f"{name}-random" if model == "random" else name)
    if model == "random":
        evaluation = evaluate_random(loaded, seed=seed)
    else:
        options = _model_options(weights, size, pooling, scales, whitening, precision)
        extractor = _load_model(model, device=device, **options)
        with _progress() as report_progress:
            evaluation = _evaluate(
                loaded,
                to,
                extractor,
                report_progress,
                local_extractor=_load_local(local),
                reranker=_geometric(first if rerank else 0),
                seed=seed,
                batch_size=batch_size,
                num_workers=workers,
            )
    page = _write_evaluation(evaluation, to)
    if as_json:
        _print_json({"page": str(page), **_report_json(evaluation.report)})
        return
    _print_report(evaluation.report)
    _say("\nLook at the answers: ", strong(page))


@app.command()
def match(
    query: Annotated[Path, typer.Argument(help="A photo.")],
    database: Annotated[Path, typer.Argument(help="Another photo.")],
    box: Annotated[
        str | None, typer.Option(help="Part of the first photo to use: x0,y0,x1,y1 in px.")
    ] = None,
    local: Annotated[str, typer.Option(help="Local features: sift, xfeat or aliked.")] = "xfeat",
    matcher: Annotated[
        str, typer.Option(help="mutual, lighterglue (xfeat) or lightglue (aliked).")
    ] = "mutual",
    model: Annotated[str, typer.Option(help="homography, affine or fundamental.")] = "homography",
    ransac: Annotated[str, typer.Option(help="magsac, poselib or degensac.")] = "magsac",
    threshold: Annotated[
        float, typer.Option(help="Largest error of an inlier, px of the second photo.")
    ] = 8.0,
    picture: Annotated[
        Path | None, typer.Option("--out", help="Draw both photos with lines between the inliers.")
    ] = None,
    outliers: Annotated[bool, typer.Option(help="Draw the other matches too, in grey.")] = False,
    as_json: Json = False,
) -> None:
    """Say whether two photos show the same place, and draw why.

    Example: meisho match tower.jpg found.jpg --out matches.png
    """
    from meisho.extractors.local_base import load_local_extractor
    from meisho.geometry.ransac import RansacOptions
    from meisho.images import Photo
    from meisho.photo_pair import compare_photos, load_matcher

    pair = compare_photos(
        Photo(str(query), query, _parse_box(box) if box else None),
        Photo(str(database), database),
        load_local_extractor(local),
        load_matcher(matcher),
        RansacOptions(model=model, method=ransac, reproj_threshold_px=threshold),  # type: ignore[arg-type]
    )
    if picture:
        from meisho.web.drawing import draw_matches

        draw_matches(pair, picture, outliers=outliers)
    if as_json:
        _print_json(_pair_json(pair))
    else:
        _print_pair(pair, picture)


@app.command()
def whiten(
    photos: Annotated[
        Path, typer.Argument(help="Folder of photos; with --learned PHOTOS/LABEL/... or a CSV.")
    ],
    to: Annotated[Path, typer.Option(help="The whitening's file, for example w.safetensors.")],
    learned: Annotated[bool, typer.Option(help="Learn from pairs of one label instead of by PCA.")] = False,
    dim: Annotated[
        int | None, typer.Option(min=1, help="Dimensions that are kept; all when not given.")
    ] = None,
    shrinkage: Annotated[
        float | None, typer.Option(min=0, help="Makes it gentler; 0 by PCA and 10 learned when not given.")
    ] = None,
    model: Model = None,
    weights: Weights = None,
    size: Size = None,
    pooling: Pooling = None,
    scales: Scales = None,
    precision: Precision = None,
    device: Device = "auto",
    batch_size: BatchSize = 16,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Fit a whitening on your own photos, for use with 'meisho index --whitening'.

    Example: meisho whiten ~/Pictures --to w.safetensors --dim 512
    """
    from meisho.run import fit_whitening

    extractor = _load_model(
        model, device=device, **_model_options(weights, size, pooling, scales, None, precision)
    )
    to.parent.mkdir(parents=True, exist_ok=True)
    with _progress() as report_progress:
        whitening, skipped = fit_whitening(
            photos,
            extractor,
            learned=learned,
            dim=dim,
            shrinkage=shrinkage,
            batch_size=batch_size,
            num_workers=workers,
            progress=report_progress,
        )
    whitening.save(to)
    if as_json:
        _print_json({"whitening": str(to), "kind": whitening.kind, "dim": whitening.dim, "skipped": skipped})
        return
    _print_skipped(skipped)
    _say(f"{whitening.kind} whitening, {extractor.dim} to {whitening.dim} dimensions, in ", strong(to))


@app.command()
def info(
    collection: Annotated[
        Path | None, typer.Argument(help="A collection; without one, this machine.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a collection holds, or what this installation can do.

    Example: meisho info my.meisho
    """
    facts = _collection_facts(collection) if collection else _machine_facts()
    if as_json:
        _print_json(facts)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in facts.items():
        shown = "\n".join(map(str, value)) if isinstance(value, list) else str(value)
        table.add_row(Text(name, style="dim"), Text(shown, overflow="fold"))
    out.print(table)


def main() -> None:
    """Run the command line; errors are one line on stderr and an exit code that means something."""
    logging.basicConfig(level=logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # odd file names must print
    try:
        app()
    except MeishoError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:  # a full disk, a forbidden folder
        _fail(str(error), 1)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            err.print("interrupted: what was done so far is kept; run the same command to go on")
        raise


def _fail(message: str, exit_code: int) -> NoReturn:
    err.print(Text.assemble(("error: ", "bold red"), message))
    sys.exit(exit_code)


def _pair_json(pair: Any) -> dict[str, Any]:
    matrix = pair.verification.query_to_database
    return {
        "query": pair.query.id,
        "database": pair.database.id,
        "keypoints": [len(pair.query_features), len(pair.database_features)],
        "matches": len(pair.matches),
        "inliers": pair.verification.num_inliers,
        "model": pair.verification.model,
        "query_to_database": None if matrix is None else matrix.tolist(),
        "extraction_seconds": pair.extraction_seconds,
        "matching_seconds": pair.matching_seconds,
    }


def _print_pair(pair: Any, picture: Path | None) -> None:
    facts = _pair_json(pair)
    first, second = facts["keypoints"]
    _say(f"{first} and {second} keypoints in {pair.extraction_seconds:.2f} s")
    _say(
        f"{facts['matches']} matches, ",
        strong(f"{facts['inliers']} inliers"),
        f" of a {facts['model']} in {1000 * pair.matching_seconds:.1f} ms",
    )
    if pair.verification.query_to_database is not None:
        for row in pair.verification.query_to_database:
            out.print("  " + "  ".join(f"{number:12.6g}" for number in row), style="dim")
    if picture:
        _say("\nLook at it: ", strong(picture))


def _evaluate(dataset: Any, to: Path, extractor: Any, progress: Any, **options: Any) -> Any:
    from meisho.run import evaluate_dataset

    return evaluate_dataset(dataset, extractor, to / "collection", progress=progress, **options)


def _write_evaluation(evaluation: Any, to: Path) -> Path:
    """Save the figures, the per-query scores and the page; return the page's path."""
    from meisho.web.pages import write_report_page

    evaluation.report.save(to)
    page = to / "report.html"
    write_report_page(page, evaluation.report, evaluation.ranking, evaluation.dataset)
    return page


def _compare(first: Path, second: Path, *, seed: int, as_json: bool) -> None:
    import numpy as np

    from meisho.evaluate.comparison import compare_reports
    from meisho.evaluate.report import load_report

    comparison = compare_reports(load_report(first), load_report(second), np.random.default_rng(seed))
    if as_json:
        _print_json(comparison)
        return
    _say(strong(comparison.dataset), f": {first} → {second}")
    for difference in comparison.differences:
        out.print(f"  {difference}", style="dim")
    for setup in comparison:
        out.print(setup.sentence)


def _model_options(
    weights: str | None,
    size: int | None,
    pooling: str | None,
    scales: str | None,
    whitening: Path | None,
    precision: str | None,
) -> dict[str, Any]:
    """Return the options that were given on the command line, and no others."""
    given = {
        "weights": _absolute(weights),
        "max_side_px": size,
        "pooling": pooling,
        "scales": _parse_numbers("--scales", scales) if scales else None,
        "whitening": str(whitening.absolute()) if whitening else None,
        "precision": precision,
    }
    return {name: value for name, value in given.items() if value is not None}


def _absolute(weights: str | None) -> str | None:
    """Return the path of a file of weights such that it is found from any folder; a name stays as it is."""
    return str(Path(weights).absolute()) if weights and Path(weights).exists() else weights


def _model_for(collection: Path, model: str | None, options: dict[str, Any], device: str) -> Any:
    """Load the model asked for; when none is asked for, the one that the collection was made with."""
    from meisho.run import restore_extractor
    from meisho.store import Collection

    if model == "random":
        raise InputError("--model random describes no photo; it is a baseline of 'meisho evaluate'")
    if model is None and not options and Collection.exists(collection):
        return restore_extractor(Collection.open(collection).provenance, device=device)
    return _load_model(model, device=device, **options)


def _load_model(model: str | None, **options: Any) -> Any:
    from meisho.extractors.base import load_extractor

    return load_extractor(_absolute(model) or "default", **options)


def _load_local(name: str | None) -> Any:
    from meisho.extractors.local_base import load_local_extractor

    return load_local_extractor(name) if name else None


def _geometric(first: int) -> Any:
    """Return the reranker that verifies the `first` answers; None for none."""
    from meisho.rerank.geometric import GeometricReranker

    return GeometricReranker(first=first) if first else None


def _parse_numbers(option: str, text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(map(math.isfinite, numbers)):
        raise ConfigError(f"{option} {text}: give numbers with commas between, without spaces")
    return numbers


def _parse_box(text: str) -> Any:
    from meisho.images import Box

    numbers = _parse_numbers("--box", text)
    if len(numbers) != 4:
        raise ConfigError(f"--box {text}: give four numbers, x0,y0,x1,y1")
    return Box(*numbers)


def _collection_facts(path: Path) -> dict[str, Any]:
    from meisho.index.live import LiveIndex
    from meisho.store import Collection

    collection = Collection.open(path)
    records = collection.records()
    described = [record for record in records if not record.error]
    saved = LiveIndex.load(path / "index")
    return {
        "collection": str(path),
        "photo folder": str(collection.photo_root),
        "photos": len(described),
        "contents": len({record.content_sha256 for record in described}),
        "skipped": [f"{record.id}: {record.error}" for record in records if record.error],
        "dimensions": collection.dim,
        "model": collection.provenance.extractor,
        "options": collection.provenance.options,
        "weights": collection.provenance.weights_sha256[:16],
        "local features": collection.local_provenance.extractor if collection.local_provenance else "none",
        "version": collection.version,
        "index": saved.kind if saved else "none; searched exactly",
        "index built at version": saved.record.version if saved else None,
        "size": f"{_size_bytes(path) / 1e6:.1f} MB",
    }


def _size_bytes(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a writer tidies meanwhile
            total += file.stat().st_size
    return total


def _machine_facts() -> dict[str, Any]:
    from meisho.datasets.base import DATASETS
    from meisho.extractors.base import EXTRACTORS
    from meisho.index.base import INDEXES

    packages = ("torch", "timm", "faiss-cpu", "lancedb", "pillow", "pillow-heif")
    return {
        "meisho": meisho.__version__,
        "python": sys.version.split()[0],
        **{name: _version(name) for name in packages},
        "cuda": _cuda_name(),
        "models": list(EXTRACTORS),
        "data sets": list(DATASETS),
        "index kinds": list(INDEXES),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cuda_name() -> str:
    from meisho.extractors.timm_gem import describe_device

    return describe_device("auto")


def _own_command() -> str:
    """Return how this program can be started again from here."""
    if shutil.which("meisho"):
        return "meisho"
    program = Path(sys.argv[0])
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)


def _shell(*words: str | Path) -> str:
    """Return a command line that can be copied into a shell."""
    return shlex.join(map(str, words))


def strong(what: object) -> tuple[str, str]:
    """Mark a piece of `_say` as important."""
    return str(what), "bold"


def _say(*pieces: str | tuple[str, str]) -> None:
    """Print pieces of text, never read as markup: a path may hold brackets."""
    out.print(Text.assemble(*pieces))


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(_plain(value), ensure_ascii=False, indent=2) + "\n")


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN and infinity become null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_skipped(skipped: Any) -> None:
    for photo in skipped:
        err.print(Text.assemble(("skipped ", "yellow"), f"{photo.id}: {photo.reason}"))


def _print_summary(summary: Any, to: Path) -> None:
    _print_skipped(summary.skipped)
    parts = [
        (summary.described, "described"),
        (summary.duplicates, "duplicates"),
        (summary.unchanged, "unchanged"),
        (summary.removed, "removed"),
        (len(summary.skipped), "skipped"),
    ]
    done = ", ".join(f"{count} {what}" for count, what in parts if count) or "nothing to do"
    _say(
        f"{summary.num_photos} photos in ",
        strong(to),
        f" ({done}; {summary.index} index; {summary.seconds:.1f} s)",
    )
    _say("Ask it: ", _shell(_own_command(), "search", to, "QUERY.jpg", "--html", "answer.html"))


def _print_report(report: Any) -> None:
    cropped = "cropped where they have a box" if report.queries_cropped else "not cropped"
    truth = report.ground_truth_sha256[:12] or "not from a file"
    _say(
        strong(report.dataset),
        f": {report.num_queries} queries, {cropped}; {report.num_database} photos; "
        f"protocol {report.protocol}; ground truth {truth}",
    )
    out.print(f"model {report.provenance.extractor} {_differing_options(report.provenance)}".rstrip())
    if report.reranking:
        out.print(f"reranked: {report.reranking}")
    setups = list(dict.fromkeys(figure.setup for figure in report.figures))
    table = Table("metric", *setups, box=None, pad_edge=False, header_style="dim")
    for metric in dict.fromkeys(figure.metric for figure in report.figures):
        cells = {figure.setup: figure.text for figure in report.figures if figure.metric == metric}
        table.add_row(metric, *(_highlighted(cells.get(setup, "")) for setup in setups))
    counts = [next(str(f.num_queries) for f in report.figures if f.setup == setup) for setup in setups]
    table.add_row(*(Text(cell, style="dim") for cell in ("queries counted", *counts)))
    out.print(table)
    for warning in report.warnings:
        err.print(Text.assemble(("warning: ", "bold yellow"), warning))


def _differing_options(provenance: Any) -> str:
    """Return the options that shape the descriptors, without those that are off."""
    options = json.loads(provenance.options)
    return ", ".join(f"{name} {value}" for name, value in options.items() if value not in (None, [1.0]))


def _highlighted(cell: str) -> Text:
    """Show "value [low, high]" with the value in bold."""
    value, _, interval = cell.partition(" ")
    return Text.assemble((value, "bold"), " ", (interval, "dim"))


def _report_json(report: Any) -> dict[str, Any]:
    return {key: value for key, value in asdict(report).items() if key != "query_scores"}


class _Rate(ProgressColumn):
    """Things per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed and (task.total or 0) > 1 else "", style="dim")


@contextmanager
def _progress() -> Iterator[Any]:
    """Show one bar per stage on stderr: how many, how fast, how long still."""
    bars = Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=err,
    )
    tasks: dict[str, Any] = {}

    def report(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)

    with bars:
        yield report


if __name__ == "__main__":
    main()
