"""Restoring: the extractor that descriptors or local features came from, by their provenance."""

from meisho.descriptors import Provenance
from meisho.errors import MismatchError, MissingFileError
from meisho.extractors.base import GlobalExtractor, load_extractor
from meisho.extractors.local_base import LocalExtractor, load_local_extractor


def restore_extractor(
    provenance: Provenance, *, device: str = "auto", places: dict[str, str] | None = None
) -> GlobalExtractor:
    """Load the extractor that descriptors came from.

    Args:
        provenance: Where the descriptors came from.
        device: "auto", "cpu" or "cuda".
        places: Where its files, "weights" or "whitening", are now when they were moved.

    Raises:
        MismatchError: Its weights are no longer the ones that were used.
        MissingFileError: One of its files is not where it was.
    """
    options = provenance.values | (places or {})
    try:
        extractor = load_extractor(provenance.extractor, **options, device=device)
    except MissingFileError as error:
        advice = "if files of the model were moved, say where they are by --weights FILE or --whitening FILE"
        raise MissingFileError(f"{error}; {advice}") from error
    _refuse_another(provenance, extractor.provenance, "the model")
    return extractor


def restore_local_extractor(provenance: Provenance, *, device: str = "auto") -> LocalExtractor:
    """Load the extractor that local features came from.

    Args:
        provenance: Where the local features came from.
        device: "auto", "cpu" or "cuda".

    Raises:
        MismatchError: Its weights are no longer the ones that were used.
    """
    extractor = load_local_extractor(provenance.extractor, device=device, **provenance.values)
    _refuse_another(provenance, extractor.provenance, "the extractor of local features")
    return extractor


def is_light(extractor: GlobalExtractor) -> bool:
    """Return whether each of several processes may load an extractor for itself: a few MB, without torch."""
    return getattr(extractor, "is_light", False)


def _refuse_another(then: Provenance, now: Provenance, what: str) -> None:
    if differences := then.differences(now):
        raise MismatchError(f"{what} is not what it was (then / now): {'; '.join(differences)}")
