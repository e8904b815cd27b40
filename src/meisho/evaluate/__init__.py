"""Ranking x ground truth -> Report."""

from meisho.evaluate.comparison import Comparison, compare_reports
from meisho.evaluate.protocols import evaluate_ranking
from meisho.evaluate.report import Figure, QueryScore, Report, load_report

__all__ = [
    "Comparison",
    "Figure",
    "QueryScore",
    "Report",
    "compare_reports",
    "evaluate_ranking",
    "load_report",
]
