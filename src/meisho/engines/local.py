"""LocalEngine: searches in this process, through a structure that lies beside the collection."""

from pathlib import Path

from meisho.arrays import UInt64Array
from meisho.engines.base import UNFINISHED, PhotoVectors, Report
from meisho.errors import ConfigError
from meisho.index.choice import choose_index
from meisho.index.live import LiveIndex


class LocalEngine:
    """The index of the collection itself; see `Engine`."""

    text = "local"

    def __init__(self, place: str = "") -> None:
        if place:
            raise ConfigError(f"the engine 'local' is nowhere else, but is given {place!r:.80}; leave it out")

    def check(self) -> None:
        """Nothing need be reached."""

    def load(self, folder: Path) -> LiveIndex | None:
        """Return the saved index; see `LiveIndex.load`."""
        return LiveIndex.load(folder)

    def refresh(
        self, folder: Path, photos: PhotoVectors, kind: str | None = None, report: Report = lambda *_: None
    ) -> LiveIndex:
        """Let the structure take in what was added; built where it is missing, stale or of another kind."""
        vectors, keys, version = photos.vectors, photos.keys, photos.version
        unfinished = folder / UNFINISHED

        def keep(part: LiveIndex) -> None:
            part.save(unfinished)
            report(part.record.num_rows, len(keys))

        kind = kind or LiveIndex.read_kind(folder) or LiveIndex.read_kind(unfinished) or "auto"
        kind = choose_index(vectors) if kind == "auto" else kind
        saved = LiveIndex.load(folder)
        begun = _choose_begun((saved, LiveIndex.load(unfinished)), kind, keys)
        if begun is None:
            live = LiveIndex.build(kind, vectors, keys, version, keep=keep)
        else:
            live = begun.extend(vectors, keys, version, keep=keep)
        if live is not saved:
            live.save(folder)
        return live

    @staticmethod
    def forget(folder: Path) -> None:
        """Remove the saved index."""
        LiveIndex.remove(folder)


def _choose_begun(found: tuple[LiveIndex | None, ...], kind: str, keys: UInt64Array) -> LiveIndex | None:
    """Return the structure of this kind that knows most of the present photos."""
    fitting = [live for live in found if live is not None and live.kind == kind and not live.is_stale(keys)]
    if len(fitting) < 2:
        return next(iter(fitting), None)
    return max(fitting, key=lambda live: live.count_known(keys))
