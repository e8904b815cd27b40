"""Reading a published checkpoint, a file or a folder with config.json; what wrappers add is taken off."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from meisho.documents import one_line, read_json
from meisho.errors import MissingFileError, WeightsError
from meisho.extractors.published.base import PublishedFile
from meisho.extractors.weights import StateDict, is_weight, read_content, strip_wrappers

CONTAINERS = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model_state", "model_state_dict"),
    *("model", "net", "weights"),
)
"""Where a state dict lies in a checkpoint; averaged weights before others."""

PREFIXES = ("ema_model.", "model_ema.", "averaged_model.", "ema.", "model.", "net.", "network.")
"""What a wrapper, such as a LightningModule, calls the network among its other parts; averaged ones first."""

FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")
_COUNTERS = ("n_averaged",)
_MOST_CONFIG_BYTES = 1_000_000


def read_published(path: Path) -> list[PublishedFile]:
    """Read a checkpoint.

    Args:
        path: A file, or a folder with config.json and one of `FOLDER_FILES`.

    Returns:
        The same file with each of the sets of weights that it may stand for, the likeliest first.

    Raises:
        WeightsError: It cannot be read.
    """
    if path.is_dir():
        config = read_json(path / "config.json", error=WeightsError, most_bytes=_MOST_CONFIG_BYTES).values
        content = _as_mapping(path, read_content(_find_weights(path)))
        return views_of(path, {**content, "config": config})
    return views_of(path, _as_mapping(path, read_content(path)))


def views_of(path: Path, content: Mapping[str, object]) -> list[PublishedFile]:
    """Return what `read_published` does, of what the file holds."""
    return [*_views(path, content, _find_state(content))]


def _find_weights(folder: Path) -> Path:
    for name in FOLDER_FILES:
        if (folder / name).is_file():
            return folder / name
    raise MissingFileError(f"{folder}: holds config.json and none of {', '.join(FOLDER_FILES)}")


def _as_mapping(path: Path, content: object) -> dict[str, object]:
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise WeightsError(f"{path}: holds no names with weights, but {one_line(type(content).__name__, 80)}")
    return content


def _find_state(content: Mapping[str, object]) -> StateDict:
    for name in CONTAINERS:
        inner = content.get(name)
        if isinstance(inner, dict) and any(is_weight(key, value) for key, value in inner.items()):
            return {key: value for key, value in inner.items() if is_weight(key, value)}
    return {key: value for key, value in content.items() if is_weight(key, value)}  # type: ignore[misc]


def _views(path: Path, content: Mapping[str, object], state: StateDict) -> Iterator[PublishedFile]:
    state = strip_wrappers({key: value for key, value in state.items() if key not in _COUNTERS})
    yield PublishedFile(path, content, state)
    for prefix in PREFIXES:
        inner = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        inner = {key: value for key, value in inner.items() if key not in _COUNTERS}
        if inner:
            others = tuple(key for key in state if not key.startswith(prefix))
            yield PublishedFile(path, content, strip_wrappers(inner), others)
