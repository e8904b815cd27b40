"""meisho (名所): find every photo of the same landmark or object.

The public names are imported on first use, so that `import meisho` stays cheap and does nothing else. A new
one is one line in `_PUBLIC`, and the same one below `TYPE_CHECKING` for type checkers and editors.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

_PUBLIC = {
    "Box": "meisho.images",
    "Chain": "meisho.rerank.chain",
    "Collection": "meisho.store",
    "CollectionError": "meisho.errors",
    "Comparison": "meisho.evaluate.comparison",
    "Dataset": "meisho.datasets.dataset",
    "DatasetError": "meisho.errors",
    "Descriptors": "meisho.descriptors",
    "Evidence": "meisho.rerank.evidence",
    "Figure": "meisho.evaluate.report",
    "GradedGroundTruth": "meisho.ground_truth",
    "GroundTruth": "meisho.ground_truth",
    "ImageError": "meisho.errors",
    "ImageOptions": "meisho.images",
    "InputError": "meisho.errors",
    "LocalFeatures": "meisho.local_features",
    "LocalFeaturesInMemory": "meisho.rerank.evidence",
    "MeishoError": "meisho.errors",
    "MismatchError": "meisho.errors",
    "Photo": "meisho.images",
    "PhotoPair": "meisho.photo_pair",
    "Provenance": "meisho.descriptors",
    "Ranking": "meisho.ranking",
    "RansacOptions": "meisho.geometry.ransac",
    "Report": "meisho.evaluate.report",
    "Snapshot": "meisho.store",
    "Whitening": "meisho.whitening",
    "build_chain": "meisho.rerank.chain",
    "compare_photos": "meisho.photo_pair",
    "compare_reports": "meisho.evaluate.comparison",
    "concatenate_descriptors": "meisho.descriptors",
    "describe_photos": "meisho.extraction",
    "evaluate_ranking": "meisho.evaluate.protocols",
    "evidence_of_lists": "meisho.rerank.evidence",
    "extract_local": "meisho.local_extraction",
    "find_photos": "meisho.images",
    "load_dataset": "meisho.datasets.base",
    "load_extractor": "meisho.extractors.base",
    "load_local_extractor": "meisho.extractors.local_base",
    "load_matcher": "meisho.photo_pair",
    "load_report": "meisho.evaluate.report",
    "normalize_rows": "meisho.descriptors",
    "parse_chain": "meisho.rerank.chain",
    "search": "meisho.searching",
}
"""Name -> module that it is imported from."""

__all__ = ["__version__", *sorted(_PUBLIC)]

if TYPE_CHECKING:
    from meisho.datasets.base import load_dataset as load_dataset
    from meisho.datasets.dataset import Dataset as Dataset
    from meisho.descriptors import Descriptors as Descriptors
    from meisho.descriptors import Provenance as Provenance
    from meisho.descriptors import concatenate_descriptors as concatenate_descriptors
    from meisho.descriptors import normalize_rows as normalize_rows
    from meisho.errors import CollectionError as CollectionError
    from meisho.errors import DatasetError as DatasetError
    from meisho.errors import ImageError as ImageError
    from meisho.errors import InputError as InputError
    from meisho.errors import MeishoError as MeishoError
    from meisho.errors import MismatchError as MismatchError
    from meisho.evaluate.comparison import Comparison as Comparison
    from meisho.evaluate.comparison import compare_reports as compare_reports
    from meisho.evaluate.protocols import evaluate_ranking as evaluate_ranking
    from meisho.evaluate.report import Figure as Figure
    from meisho.evaluate.report import Report as Report
    from meisho.evaluate.report import load_report as load_report
    from meisho.extraction import describe_photos as describe_photos
    from meisho.extractors.base import load_extractor as load_extractor
    from meisho.extractors.local_base import load_local_extractor as load_local_extractor
    from meisho.geometry.ransac import RansacOptions as RansacOptions
    from meisho.ground_truth import GradedGroundTruth as GradedGroundTruth
    from meisho.ground_truth import GroundTruth as GroundTruth
    from meisho.images import Box as Box
    from meisho.images import ImageOptions as ImageOptions
    from meisho.images import Photo as Photo
    from meisho.images import find_photos as find_photos
    from meisho.local_extraction import extract_local as extract_local
    from meisho.local_features import LocalFeatures as LocalFeatures
    from meisho.photo_pair import PhotoPair as PhotoPair
    from meisho.photo_pair import compare_photos as compare_photos
    from meisho.photo_pair import load_matcher as load_matcher
    from meisho.ranking import Ranking as Ranking
    from meisho.rerank.chain import Chain as Chain
    from meisho.rerank.chain import build_chain as build_chain
    from meisho.rerank.chain import parse_chain as parse_chain
    from meisho.rerank.evidence import Evidence as Evidence
    from meisho.rerank.evidence import LocalFeaturesInMemory as LocalFeaturesInMemory
    from meisho.rerank.evidence import evidence_of_lists as evidence_of_lists
    from meisho.searching import search as search
    from meisho.store import Collection as Collection
    from meisho.store import Snapshot as Snapshot
    from meisho.whitening import Whitening as Whitening
else:

    def __getattr__(name: str) -> object:
        """Import a public name on first use (PEP 562)."""
        import sys
        from importlib import import_module

        if name not in _PUBLIC:
            message = f"module 'meisho' has no attribute {name!r}"
            raise AttributeError(
                message, name=name, obj=sys.modules[__name__]
            )  # Python then names the nearest
        return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
