"""Local feature checkpoints: a folder with a trained head (`local_head.safetensors`) and `local.json`."""

from collections.abc import Collection, Mapping
from pathlib import Path

from meisho.documents import read_json
from meisho.errors import InputError, WeightsError

HEAD_NAME = "local_head.safetensors"
LIST_NAME = "local.json"
"""Names the extractor and its options; the trunk's weights, if named, may lie in the same folder."""


def find_local(
    name: str, options: Mapping[str, object], known: Collection[str]
) -> tuple[str, dict[str, object]]:
    """Return an extractor's name and all its options; for a checkpoint, read them from its folder.

    Args:
        name: One of `known`, or the folder of a checkpoint.
        options: Options that replace those of the checkpoint.
        known: Names of extractors.

    Raises:
        InputError: `name` is neither.
        WeightsError: The folder's `local.json` cannot be read.
    """
    if name in known:
        return name, {**options}
    folder = Path(name).absolute()  # a collection stores this path, and may be used from any folder
    if not (folder / LIST_NAME).is_file():
        raise InputError(_explain(name, known))
    advice = "not a local feature checkpoint"
    fields = read_json(folder / LIST_NAME, error=WeightsError, advice=advice, most_bytes=1_000_000)
    extractor, saved = fields.text("local_extractor"), dict(fields.table("options").values)
    if extractor not in known:
        raise WeightsError(f"{folder / LIST_NAME}: no local feature extractor is called {extractor!r:.80}")
    weights = folder / fields.table("options").text("weights") if "weights" in saved else folder
    if weights.is_file():
        saved["weights"] = str(weights)
    return extractor, {**saved, "local_weights": str(folder / HEAD_NAME), **options}


def _explain(name: str, known: Collection[str]) -> str:
    hint = ""
    if (Path(name) / "best" / LIST_NAME).is_file():
        hint = f"did you mean {str(Path(name) / 'best')!r}? "
    elif (Path(name) / "model.json").is_file():
        hint = "it is a model for --model; "
    return (
        f"no local feature extractor is called {name!r}; {hint}choose one of {', '.join(known)}, "
        "or the folder of a trained one, such as runs/NAME/best"
    )
