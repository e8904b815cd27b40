"""meisho (名所): find every photo of the same landmark or object.

The public names are imported on first use, so that `import meisho` stays cheap and does nothing else. A new
one is one line in `_PUBLIC`, and the same one below `TYPE_CHECKING` for type checkers and editors.
"""

from typing import TYPE_CHECKING

__version__ = "1.0.0rc1"

_PUBLIC = {
    "Answer": "meisho.run.found",
    "Box": "meisho.photos",
    "Chain": "meisho.rerank.chain",
    "Client": "meisho.client",
    "Collection": "meisho.store.collection",
    "CollectionError": "meisho.errors",
    "Comparison": "meisho.evaluate.comparison",
    "Dataset": "meisho.datasets.dataset",
    "DatasetError": "meisho.errors",
    "Describer": "meisho.describing",
    "Descriptors": "meisho.descriptors",
    "Evidence": "meisho.rerank.evidence",
    "Figure": "meisho.evaluate.report",
    "Finder": "meisho.run.finding",
    "Found": "meisho.run.found",
    "GradedGroundTruth": "meisho.ground_truth",
    "GroundTruth": "meisho.ground_truth",
    "ImageError": "meisho.errors",
    "ImageOptions": "meisho.images",
    "IndexOptions": "meisho.run.indexing",
    "IndexSummary": "meisho.run.summary",
    "InputError": "meisho.errors",
    "LocalDescriber": "meisho.local_describing",
    "LocalFeatures": "meisho.local_features",
    "LocalFeaturesInMemory": "meisho.rerank.evidence",
    "MeishoError": "meisho.errors",
    "MismatchError": "meisho.errors",
    "Photo": "meisho.photos",
    "PhotoFolder": "meisho.photo_folder",
    "PhotoPair": "meisho.photo_pair",
    "Provenance": "meisho.descriptors",
    "Ranking": "meisho.ranking",
    "RansacOptions": "meisho.geometry.ransac",
    "Report": "meisho.evaluate.report",
    "Snapshot": "meisho.store.snapshot",
    "Whitening": "meisho.whitening",
    "add_photos": "meisho.run.indexing",
    "build_chain": "meisho.rerank.chain",
    "compare_photos": "meisho.photo_pair",
    "compare_reports": "meisho.evaluate.comparison",
    "concatenate_descriptors": "meisho.descriptors",
    "evaluate_dataset": "meisho.run.evaluating",
    "evaluate_ranking": "meisho.evaluate.protocols",
    "evidence_of_lists": "meisho.rerank.evidence",
    "find_photos": "meisho.photo_folder",
    "fuse_rankings": "meisho.rerank.fusion",
    "index_folder": "meisho.run.indexing",
    "index_photos": "meisho.run.indexing",
    "load_dataset": "meisho.datasets.base",
    "load_extractor": "meisho.extractors.base",
    "load_local_extractor": "meisho.extractors.local_base",
    "load_matcher": "meisho.geometry.base",
    "load_report": "meisho.evaluate.report",
    "normalize_rows": "meisho.descriptors",
    "parse_chain": "meisho.rerank.chain",
    "remove_photos": "meisho.run.indexing",
    "search": "meisho.searching",
    "wrap_module": "meisho.extractors.module",
}
"""Name -> module that it is imported from."""

__all__ = ["__version__", *sorted(_PUBLIC)]

if TYPE_CHECKING:
    from meisho.client import Client as Client
    from meisho.datasets.base import load_dataset as load_dataset
    from meisho.datasets.dataset import Dataset as Dataset
    from meisho.describing import Describer as Describer
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
    from meisho.extractors.base import load_extractor as load_extractor
    from meisho.extractors.local_base import load_local_extractor as load_local_extractor
    from meisho.extractors.module import wrap_module as wrap_module
    from meisho.geometry.base import load_matcher as load_matcher
    from meisho.geometry.ransac import RansacOptions as RansacOptions
    from meisho.ground_truth import GradedGroundTruth as GradedGroundTruth
    from meisho.ground_truth import GroundTruth as GroundTruth
    from meisho.images import ImageOptions as ImageOptions
    from meisho.local_describing import LocalDescriber as LocalDescriber
    from meisho.local_features import LocalFeatures as LocalFeatures
    from meisho.photo_folder import PhotoFolder as PhotoFolder
    from meisho.photo_folder import find_photos as find_photos
    from meisho.photo_pair import PhotoPair as PhotoPair
    from meisho.photo_pair import compare_photos as compare_photos
    from meisho.photos import Box as Box
    from meisho.photos import Photo as Photo
    from meisho.ranking import Ranking as Ranking
    from meisho.rerank.chain import Chain as Chain
    from meisho.rerank.chain import build_chain as build_chain
    from meisho.rerank.chain import parse_chain as parse_chain
    from meisho.rerank.evidence import Evidence as Evidence
    from meisho.rerank.evidence import LocalFeaturesInMemory as LocalFeaturesInMemory
    from meisho.rerank.evidence import evidence_of_lists as evidence_of_lists
    from meisho.rerank.fusion import fuse_rankings as fuse_rankings
    from meisho.run.evaluating import evaluate_dataset as evaluate_dataset
    from meisho.run.finding import Finder as Finder
    from meisho.run.found import Answer as Answer
    from meisho.run.found import Found as Found
    from meisho.run.indexing import IndexOptions as IndexOptions
    from meisho.run.indexing import add_photos as add_photos
    from meisho.run.indexing import index_folder as index_folder
    from meisho.run.indexing import index_photos as index_photos
    from meisho.run.indexing import remove_photos as remove_photos
    from meisho.run.summary import IndexSummary as IndexSummary
    from meisho.searching import search as search
    from meisho.store.collection import Collection as Collection
    from meisho.store.snapshot import Snapshot as Snapshot
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
