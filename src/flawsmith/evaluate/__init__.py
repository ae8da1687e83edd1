"""How good a model is, in numbers that a quality engineer can sign: figures with intervals, the sweep, the report."""

from flawsmith.evaluate.evaluation import DatasetFacts, Evaluation, evaluate
from flawsmith.evaluate.images import operating_points
from flawsmith.evaluate.intervals import Rate, clopper_pearson
from flawsmith.evaluate.report import render, write_report

__all__ = [
    "DatasetFacts",
    "Evaluation",
    "Rate",
    "clopper_pearson",
    "evaluate",
    "operating_points",
    "render",
    "write_report",
]
