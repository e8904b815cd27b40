"""A bundle: one folder with everything needed to make a submission without a network.

bundle.json     the models, in order, the reranking, and the names of all files
wheels/         meisho, and any wheels that were added
weights/1/      a checkpoint for each model: model.json, model.safetensors, perhaps whitening.safetensors
weights/local/  the trained local feature extractor, if one is used
notebook.ipynb  installs the wheels and makes the submission
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from meisho.contest.entry import Entry, InMemory, load_reranking, make_entry
from meisho.contest.notebook import make_notebook
from meisho.contest.wheel import write_wheel
from meisho.datasets.contest import find_contest_photos
from meisho.describing import Describer
from meisho.documents import Fields, read_json
from meisho.errors import InputError, needs_extra
from meisho.extractors.base import GlobalExtractor, load_extractor
from meisho.extractors.checkpoint import save_checkpoint
from meisho.extractors.local_base import LOCAL_EXTRACTORS, load_local_extractor
from meisho.extractors.options import TimmGeMOptions
from meisho.progress import Progress, silent
from meisho.submission import read_query_ids, write_submission

with needs_extra("torch", "a bundle"):
    from meisho.extractors.delg import Delg, save_delg
    from meisho.extractors.timm_gem import TimmGeM, to_torch

KAGGLE_CONTEST = "/kaggle/input/landmark-retrieval-2021"
_WHITENING = "whitening.safetensors"
_LIST = "bundle.json"


@dataclass(frozen=True)
class NotebookPlaces:
    """Where the contest's files are on the machine that runs the notebook.

    Attributes:
        queries: Folder of query photos.
        database: Folder of database photos.
        sample: The contest's sample submission; None answers every query photo.
    """

    queries: str = f"{KAGGLE_CONTEST}/test"
    database: str = f"{KAGGLE_CONTEST}/index"
    sample: str | None = None


def write_bundle(
    folder: Path,
    extractors: Sequence[GlobalExtractor],
    *,
    places: NotebookPlaces | None = None,
    wheels: Sequence[Path] = (),
    rerank: str | None = None,
    local: str | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write a bundle, atomically.

    Args:
        folder: Folder to write; must be new or empty.
        extractors: One or more models on timm backbones.
        places: Where the contest's files are on the machine that runs the notebook; Kaggle's when not given.
        wheels: Additional wheels to install there.
        rerank: A chain of rerankers, as for `--rerank`, or None.
        local: The local feature extractor for the chain, or None.
        overwrite: Replace an existing bundle, if it holds nothing else.

    Returns:
        The files of the bundle.

    Raises:
        InputError: The folder is not empty or holds more than a bundle, a model has no timm backbone, or a
            wheel does not exist.
    """
    models = [_require_timm(extractor) for extractor in extractors]
    if not models:
        raise InputError("a bundle needs at least one model")
    for wheel in wheels:
        if not wheel.is_file() or wheel.suffix != ".whl":
            raise InputError(
                f"{wheel}: is not a wheel; give a .whl file for the machine that runs the notebook"
            )
    load_reranking(rerank, local)
    check_free(folder, overwrite=overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        unfinished = Path(scratch) / folder.name
        unfinished.mkdir()
        records = [_save_model(model, unfinished, number) for number, model in enumerate(models, start=1)]
        content: dict[str, object] = {"models": records, "rerank": rerank}
        content["local"] = _save_local(local, unfinished)
        notebook = make_notebook(**asdict(places or NotebookPlaces()))
        (unfinished / "notebook.ipynb").write_text(notebook, encoding="utf-8")
        write_wheel(unfinished / "wheels")
        for wheel in wheels:
            shutil.copy(wheel, unfinished / "wheels" / wheel.name)
        content["files"] = [*_files_below(unfinished), _LIST]
        (unfinished / _LIST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        check_free(folder, overwrite=overwrite)  # it may have changed meanwhile
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    return tuple(path for path in sorted(folder.rglob("*")) if path.is_file())


def _require_timm(extractor: GlobalExtractor) -> TimmGeM:
    try:
        return to_torch(extractor)
    except InputError as error:
        raise InputError(
            f"the model {extractor.provenance.extractor} cannot be bundled; a bundle takes models on timm "
            "backbones: default, timm:NAME or a checkpoint, with one --model for each"
        ) from error


def check_free(folder: Path, *, overwrite: bool = False) -> None:
    """Refuse a folder that holds something that a bundle would replace.

    Raises:
        InputError: It does; with `overwrite`, an earlier bundle alone may be replaced.
    """
    if folder.is_symlink():
        raise InputError(f"{folder}: is a link; give the folder itself, or another one")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / _LIST).is_file():
        raise InputError(f"{folder}: is not a bundle and is not empty; choose a new or empty folder")
    if not overwrite:
        raise InputError(f"{folder}: is already a bundle; choose another folder, or say --overwrite")
    if strange := sorted({*_files_below(folder)} - _listed_files(folder)):
        raise InputError(
            f"{folder}: holds {strange[0]}, which is not of the bundle and would be lost; move it, or choose "
            "another folder"
        )


def _files_below(folder: Path) -> list[str]:
    """Return what lies below a folder and is no folder, as paths with "/"."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir())
    return [path.relative_to(folder).as_posix() for path in found]


def _listed_files(folder: Path) -> set[str]:
    """Return the files that a bundle's list says it wrote; none where it is no such list."""
    try:
        return set(read_json(folder / _LIST, error=InputError, most_bytes=1_000_000).texts("files"))
    except InputError:
        return set()


def _save_model(model: TimmGeM, bundle: Path, number: int) -> dict[str, str | None]:
    """Save a model as a checkpoint; return its folder in the bundle and the name of its whitening file."""
    place = Path("weights") / str(number)
    options = TimmGeMOptions.from_mapping(model.provenance.values)
    name = model.provenance.extractor.removeprefix("timm:")
    save_checkpoint(model.network, name, replace(options, whitening=None), bundle / place)
    if options.whitening is not None:
        shutil.copy(options.whitening, bundle / place / _WHITENING)
    return {"checkpoint": place.as_posix(), "whitening": _WHITENING if options.whitening else None}


def _save_local(local: str | None, bundle: Path) -> str | None:
    """Return the name of the local feature extractor; if it was trained, save it and return its folder."""
    if local is None or local in LOCAL_EXTRACTORS:
        return local
    extractor = load_local_extractor(local)
    assert isinstance(extractor, Delg)  # the only one that is trained
    place = Path("weights") / "local"
    save_delg(extractor.network, extractor.provenance.values, bundle / place, with_trunk=True)
    return place.as_posix()


@dataclass(frozen=True)
class BundleList:
    """What a bundle's list names.

    Attributes:
        models: The folder of each model below the bundle, and the name of its whitening file or None.
        rerank: A chain of rerankers, or None.
        local: The local feature extractor for the chain, a name or a folder below the bundle, or None.
    """

    models: tuple[tuple[str, str | None], ...]
    rerank: str | None
    local: str | None


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    Attributes:
        extractors: The models.
        rerank: A chain of rerankers, or None.
        local: The local feature extractor for the chain, or None.
    """

    extractors: tuple[GlobalExtractor, ...]
    rerank: str | None
    local: str | None


def read_bundle_list(folder: Path) -> BundleList:
    """Read what a bundle holds.

    Raises:
        InputError: It is not a bundle, or names no model.
    """
    advice = "it is not a bundle's list of models; make the bundle again"
    content = read_json(folder / _LIST, error=InputError, advice=advice, most_bytes=1_000_000)
    models = [
        (record.text("checkpoint"), _text_or_none(record, "whitening")) for record in content.tables("models")
    ]
    if not models:
        content.fail("names no model")
    return BundleList(tuple(models), _text_or_none(content, "rerank"), _text_or_none(content, "local"))


def load_bundle(folder: Path, *, device: str = "auto") -> Bundle:
    """Load a bundle.

    Raises:
        InputError: It is not a bundle.
        WeightsError: A model's files cannot be read.
    """
    listed = read_bundle_list(folder)
    local = listed.local
    if local is not None and local not in LOCAL_EXTRACTORS:
        local = str(folder / local)
    extractors = tuple(_load_model(folder / place, whitening, device) for place, whitening in listed.models)
    return Bundle(extractors, listed.rerank, local)


def _text_or_none(fields: Fields, name: str) -> str | None:
    return fields.text(name) if fields.has(name) else None


def _load_model(folder: Path, whitening: str | None, device: str) -> GlobalExtractor:
    options = {"whitening": str(folder / whitening)} if whitening else {}
    return load_extractor(str(folder), device=device, **options)


def run_bundle(
    folder: Path,
    queries: Path,
    database: Path,
    to: Path,
    *,
    sample: Path | None = None,
    device: str = "auto",
    num_workers: int | None = None,
    progress: Progress = silent,
) -> Entry:
    """Make a submission with a bundle's models; descriptors stay in memory.

    Args:
        folder: The bundle.
        queries: Folder of query photos.
        database: Folder of database photos.
        to: The submission file to write.
        sample: The contest's sample submission, which lists the queries to answer; None answers all.
        device: "auto", "cpu" or "cuda".
        num_workers: Number of decoding processes; None chooses.
        progress: Called as the work advances.

    Raises:
        InputError: A folder or the bundle cannot be used.
    """
    bundle = load_bundle(folder, device=device)
    photos = find_contest_photos(queries, database, query_ids=read_query_ids(sample) if sample else None)
    describe = InMemory(progress)
    entry = make_entry(
        photos,
        [Describer(extractor, num_workers=num_workers) for extractor in bundle.extractors],
        describe_database=describe,
        describe_queries=describe,
        reranking=load_reranking(bundle.rerank, bundle.local, device=device, num_workers=num_workers),
        progress=progress,
    )
    write_submission(entry.ranking, to, query_ids=entry.query_ids)
    return entry
