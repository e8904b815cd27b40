"""A bundle: one folder with all that makes a submission where there is no network.

bundle.json     the models, in order
wheels/         meisho, and what was added to it
weights/1/      a checkpoint of each model: model.json, model.safetensors, perhaps whitening.safetensors
weights/local/  local features that were trained, if they are used
notebook.ipynb  installs the wheels and makes the submission
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meisho.contest.entry import Entry, InMemory, Reranking, make_entry
from meisho.contest.notebook import make_notebook
from meisho.contest.wheel import write_wheel
from meisho.datasets.contest import find_contest_photos
from meisho.errors import InputError
from meisho.extractors.base import GlobalExtractor, load_extractor
from meisho.extractors.checkpoint import save_checkpoint
from meisho.extractors.delg import Delg, save_delg
from meisho.extractors.local_base import LOCAL_EXTRACTORS, load_local_extractor
from meisho.extractors.options import TimmGeMOptions
from meisho.extractors.timm_gem import TimmGeM
from meisho.progress import Progress, silent
from meisho.rerank.chain import build_chain
from meisho.submission import read_query_ids, write_submission

KAGGLE_CONTEST = "/kaggle/input/landmark-retrieval-2021"
_WHITENING = "whitening.safetensors"
_LIST = "bundle.json"


def write_bundle(
    folder: Path,
    extractors: Sequence[GlobalExtractor],
    *,
    queries: str = f"{KAGGLE_CONTEST}/test",
    database: str = f"{KAGGLE_CONTEST}/index",
    sample: str | None = None,
    wheels: Sequence[Path] = (),
    rerank: str | None = None,
    local: str | None = None,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write a bundle; whole or not at all.

    Args:
        folder: Where; new or empty.
        extractors: One or more models on timm backbones.
        queries: The folder of queries where the notebook will run.
        database: The folder of database photos there.
        sample: The contest's sample submission there, or None to answer every query photo.
        wheels: Further wheels to install there.
        rerank: A chain of rerankers, as `--rerank` takes it, or None.
        local: The extractor of local features for it, or None.
        overwrite: Replace an earlier bundle.

    Returns:
        The files of the bundle.

    Raises:
        InputError: Something is in the folder already, a model is of another kind, or a wheel is not there.
    """
    models = [_require_timm(extractor) for extractor in extractors]
    if not models:
        raise InputError("a bundle needs at least one model")
    for wheel in wheels:
        if not wheel.is_file() or wheel.suffix != ".whl":
            raise InputError(f"{wheel}: is not a wheel; give a .whl file for the machine of the notebook")
    load_reranking(rerank, local)
    _check_free(folder, overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        unfinished = Path(scratch) / folder.name
        unfinished.mkdir()
        records = [_save_model(model, unfinished, number) for number, model in enumerate(models, start=1)]
        content = {"models": records, "rerank": rerank, "local": _save_local(local, unfinished)}
        (unfinished / _LIST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        notebook = make_notebook(queries=queries, database=database, sample=sample)
        (unfinished / "notebook.ipynb").write_text(notebook, encoding="utf-8")
        write_wheel(unfinished / "wheels")
        for wheel in wheels:
            shutil.copy(wheel, unfinished / "wheels" / wheel.name)
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    return tuple(path for path in sorted(folder.rglob("*")) if path.is_file())


def _require_timm(extractor: GlobalExtractor) -> TimmGeM:
    if not isinstance(extractor, TimmGeM):
        raise InputError(
            f"the model {extractor.provenance.extractor} cannot be bundled; a bundle takes models on timm "
            "backbones: default, timm:NAME, or a checkpoint, each by a --model of its own"
        )
    return extractor


def _check_free(folder: Path, overwrite: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / _LIST).is_file():
        raise InputError(f"{folder}: holds something else than a bundle; choose a new or empty folder")
    if not overwrite:
        raise InputError(f"{folder}: is a bundle already; choose another folder, or say --overwrite")


def _save_model(model: TimmGeM, bundle: Path, number: int) -> dict[str, str | None]:
    """Save a model as a checkpoint; return its place in the bundle and the name of its whitening's file."""
    place = Path("weights") / str(number)
    options = TimmGeMOptions.from_mapping(json.loads(model.provenance.options))
    name = model.provenance.extractor.removeprefix("timm:")
    save_checkpoint(model.network, name, replace(options, whitening=None), bundle / place)
    if options.whitening is not None:
        shutil.copy(options.whitening, bundle / place / _WHITENING)
    return {"checkpoint": place.as_posix(), "whitening": _WHITENING if options.whitening else None}


def _save_local(local: str | None, bundle: Path) -> str | None:
    """Return the name of local features, or save those that were trained and return their place."""
    if local is None or local in LOCAL_EXTRACTORS:
        return local
    extractor = load_local_extractor(local)
    assert isinstance(extractor, Delg)  # no others are trained
    place = Path("weights") / "local"
    save_delg(extractor.network, json.loads(extractor.provenance.options), bundle / place, with_trunk=True)
    return place.as_posix()


def load_reranking(
    rerank: str | None, local: str | None, *, num_workers: int | None = None
) -> Reranking | None:
    """Load the rerankers of a chain and the extractor of local features; None where there is no chain.

    Raises:
        InputError: A name or option is not known, or the chain needs local features and there are none.
    """
    if rerank is None:
        return None
    chain = build_chain(rerank, source="--rerank")
    return Reranking(chain, load_local_extractor(local) if local else None, num_workers)


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds, loaded.

    Attributes:
        extractors: The models.
        rerank: A chain of rerankers, or None.
        local: The extractor of local features for it, or None.
    """

    extractors: tuple[GlobalExtractor, ...]
    rerank: str | None
    local: str | None


def load_bundle(folder: Path, *, device: str = "auto") -> Bundle:
    """Load a bundle.

    Raises:
        InputError: It is not a bundle.
        WeightsError: A model's files cannot be read.
    """
    path = folder / _LIST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        records = [(str(record["checkpoint"]), record["whitening"]) for record in content["models"]]
        rerank, local = content["rerank"], content["local"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is not the list of a bundle's models ({error}); make it again") from error
    if local is not None and local not in LOCAL_EXTRACTORS:
        local = str(folder / local)
    return Bundle(tuple(_load_model(folder / place, w, device) for place, w in records), rerank, local)


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
    """Make a submission with the models of a bundle; descriptors stay in memory.

    Args:
        folder: The bundle.
        queries: The folder of query photos.
        database: The folder of photos that are searched.
        to: The submission.
        sample: The contest's sample submission: the queries to answer. None: every query photo.
        device: "auto", "cpu" or "cuda".
        num_workers: Processes that decode; None chooses.
        progress: Called as work is done.

    Raises:
        InputError: A folder or the bundle cannot be used.
    """
    bundle = load_bundle(folder, device=device)
    photos = find_contest_photos(queries, database, query_ids=read_query_ids(sample) if sample else None)
    describe = InMemory(num_workers=num_workers, progress=progress)
    entry = make_entry(
        photos,
        bundle.extractors,
        describe_database=describe,
        describe_queries=describe,
        reranking=load_reranking(bundle.rerank, bundle.local, num_workers=num_workers),
        progress=progress,
    )
    write_submission(entry.ranking, to, query_ids=entry.query_ids)
    return entry
