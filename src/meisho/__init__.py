"""meisho (名所): find every photo of the same landmark or object.

The public names are imported on first use, so that `import meisho` stays cheap and does nothing else.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Collection": "meisho.store.collection",
    "Dataset": "meisho.datasets.base",
    "Describer": "meisho.describing",
    "Descriptors": "meisho.descriptors",
    "Evidence": "meisho.rerank.evidence",
    "GradedGroundTruth": "meisho.ground_truth",
    "GroundTruth": "meisho.ground_truth",
    "MeishoError": "meisho.errors",
    "Photo": "meisho.photos",
    "Ranking": "meisho.ranking",
    "build_chain": "meisho.rerank.chain",
    "evaluate_ranking": "meisho.evaluate.protocols",
    "evidence_of_lists": "meisho.rerank.evidence",
    "find_photos": "meisho.photos",
    "load_dataset": "meisho.datasets.base",
    "load_extractor": "meisho.extractors.base",
    "parse_chain": "meisho.rerank.chain",
    "search": "meisho.searching",
    "wrap_module": "meisho.extractors.module",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'meisho' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
