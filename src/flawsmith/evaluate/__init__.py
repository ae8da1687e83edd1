"""How good a model is, in numbers that a quality engineer can sign: figures with intervals, the sweep, the report."""

from flawsmith.evaluate.class_evaluation import ClassEvaluation, evaluate_classes
from flawsmith.evaluate.class_report import render_classes, write_class_report
from flawsmith.evaluate.classes import ClassScore
from flawsmith.evaluate.evaluation import DatasetFacts, Evaluation, evaluate
from flawsmith.evaluate.images import operating_points
from flawsmith.evaluate.intervals import Rate, clopper_pearson
from flawsmith.evaluate.report import render, write_report

__all__ = [
    "ClassEvaluation",
    "ClassScore",
    "DatasetFacts",
    "Evaluation",
    "Rate",
    "clopper_pearson",
    "evaluate",
    "evaluate_classes",
    "operating_points",
    "render",
    "render_classes",
    "write_class_report",
    "write_report",
]
