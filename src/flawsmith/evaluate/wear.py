"""How good a wear run is: the error of VB, levels right, and how a segmented region agrees with a drawn one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.stats import norm
from scipy.stats import t as t_distribution

from flawsmith.evaluate.evaluation import DatasetFacts
from flawsmith.evaluate.intervals import LEVEL, Figure, Rate, Result, group_weights, ratio_estimate, worthwhile

RESAMPLES = 2000
_AGREEMENT = float(norm.ppf((1 + LEVEL) / 2))


@dataclass(frozen=True, eq=False)
class WearCase:
    """One image. All VB in one unit.

    vb:        the truth; estimated: from the features of the drawn region, by the model
    segmented: measured in the region that the segmenter found; None where it found none that can be measured
    png:       the picture that shows it
    """

    id: str
    group: str
    vb: float
    estimated: float
    level: str
    estimated_level: str
    segmented: float | None = None
    png: bytes = field(default=b"", repr=False)


class Agreement(Result):
    """Bland and Altman, Lancet 1986: mean difference of two ways to measure, and where 95 % of differences lie.

    bias_low, bias_high: t interval of the bias. The limits are bias ± 1.96 standard deviations; `limit_error` is the
    half width of their 95 % interval
    """

    n: int
    bias: float | None = None
    bias_low: float | None = None
    bias_high: float | None = None
    low: float | None = None
    high: float | None = None
    limit_error: float | None = None
    reason: str | None = None


class WearRow(Result):
    """One image in `metrics.json`."""

    id: str
    vb: float
    estimated: float
    level: str
    estimated_level: str
    segmented: float | None


class WearEvaluation(Result):
    """Figures of one split, VB in `unit`.

    mae:       of the model on the drawn regions; mae_of_mean: of always answering the training mean
    right:     levels; right_of_usual: by always answering the usual one of training
    found:     images whose segmented region could be measured; agreement: segmented minus drawn. None: no segmenter
    """

    schema_version: Literal[1] = 1
    task: Literal["wear"] = "wear"
    dataset: DatasetFacts
    unit: Literal["mm", "px"]
    vb_from: Literal["mask", "manifest"]
    level_at: float | None
    images: int
    left_out: dict[str, str]
    mae: Figure
    mae_of_mean: Figure
    right: Rate
    right_of_usual: Rate
    found: Rate | None = None
    agreement: Agreement | None = None
    rows: tuple[WearRow, ...]

    @property
    def headline(self) -> str:
        """The finding in a sentence, compared with what needs no model."""
        assert self.mae.value is not None
        assert self.mae_of_mean.value is not None
        better = "better than" if self.mae.value < self.mae_of_mean.value else "no better than"
        told = (
            f"VB of {self.images} unseen images is off by {self.mae.value:.3g} {self.unit} on average, {better} always "
            f"answering the mean ({self.mae_of_mean.value:.3g} {self.unit}); {self.right.k} of {self.right.n} levels "
            f"are right, {self.right_of_usual.k} by always answering the usual one."
        )
        if self.found is not None and self.agreement is not None and self.agreement.low is not None:
            told += (
                f" Measured in the segmented region, VB differs from the drawn one by {self.agreement.bias:+.3g} "
                f"{self.unit}, for 95 % of images by {self.agreement.low:+.3g} to {self.agreement.high:+.3g}."
            )
        return told

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def table(self) -> list[tuple[str, str, str]]:
        """Rows of figure, value and interval for the terminal."""
        rows = [
            (f"VB, mean error ({self.unit})", *_shown(self.mae)),
            ("  by always answering the mean", *_shown(self.mae_of_mean)),
            ("levels right", *_counted(self.right)),
            ("  by always answering the usual level", *_counted(self.right_of_usual)),
        ]
        if self.found is not None and self.agreement is not None:
            rows.append(("segmented and measured", *_counted(self.found)))
            a = self.agreement
            if a.bias is not None:
                rows.append(
                    (f"  bias of its VB ({self.unit})", f"{a.bias:+.3g}", f"{a.bias_low:+.3g} … {a.bias_high:+.3g}")
                )
                if a.low is not None:
                    rows.append(
                        ("  limits of agreement", f"{a.low:+.3g} … {a.high:+.3g}", f"each ± {a.limit_error:.2g}")
                    )
        return rows


def evaluate_cases(
    cases: Sequence[WearCase],
    unit: Literal["mm", "px"],
    vb_mean: float,
    usual_level: str,
    segmented: bool = False,
    vb_from: Literal["mask", "manifest"] = "mask",
    level_at: float | None = None,
    left_out: dict[str, str] | None = None,
    dataset: DatasetFacts | None = None,
    seed: int = 0,
) -> WearEvaluation:
    """`vb_mean` and `usual_level` are those of training; `segmented`: whether there was a segmenter at all."""
    vb = np.array([case.vb for case in cases])
    groups = [case.group for case in cases]
    pairs = [(case.segmented, case.vb) for case in cases if case.segmented is not None]
    rows = tuple(
        WearRow(
            id=c.id, vb=c.vb, estimated=c.estimated, level=c.level, estimated_level=c.estimated_level,
            segmented=c.segmented,
        )
        for c in cases
    )  # fmt: skip
    return WearEvaluation(
        dataset=dataset or DatasetFacts(name=""),
        unit=unit,
        vb_from=vb_from,
        level_at=level_at,
        images=len(cases),
        left_out=left_out or {},
        mae=mean_error(np.array([case.estimated for case in cases]) - vb, groups, seed),
        mae_of_mean=mean_error(vb_mean - vb, groups, seed),
        right=Rate.of(sum(case.level == case.estimated_level for case in cases), len(cases)),
        right_of_usual=Rate.of(sum(case.level == usual_level for case in cases), len(cases)),
        found=Rate.of(len(pairs), len(cases)) if segmented else None,
        agreement=agreement(np.array([a - b for a, b in pairs])) if segmented else None,
        rows=rows,
    )


def mean_error(errors: np.ndarray, groups: Sequence[str], seed: int = 0) -> Figure:
    """Mean of |errors| (N,), resampled by groups."""
    weights, members = group_weights(groups, worthwhile(RESAMPLES, groups), seed)
    estimate = ratio_estimate(np.abs(errors), np.ones(len(errors)), weights, members)
    return estimate.figure("there are no images", upper=math.inf)


def agreement(differences: np.ndarray) -> Agreement:
    """Of (N,) differences, new way minus reference. Two are needed for limits.

    >>> found = agreement(np.array([-1.0, 0.0, 1.0, 2.0]))
    >>> found.bias, round(found.low, 2), round(found.high, 2)
    (0.5, -2.03, 3.03)
    """
    n = len(differences)
    if n < 2:
        return Agreement(n=n, bias=float(differences[0]) if n else None, reason=f"{n} images are too few for limits")
    bias, deviation = float(differences.mean()), float(differences.std(ddof=1))
    t = float(t_distribution.ppf((1 + LEVEL) / 2, n - 1))
    half = t * deviation / math.sqrt(n)
    return Agreement(
        n=n,
        bias=bias,
        bias_low=bias - half,
        bias_high=bias + half,
        low=bias - _AGREEMENT * deviation,
        high=bias + _AGREEMENT * deviation,
        limit_error=t * deviation * math.sqrt(1 / n + _AGREEMENT**2 / (2 * (n - 1))),
    )


def _shown(figure: Figure) -> tuple[str, str]:
    ends = f"{figure.low:.3g} … {figure.high:.3g}" if figure.low is not None else figure.reason or ""
    return "–" if figure.value is None else f"{figure.value:.3g}", ends


def _counted(rate: Rate) -> tuple[str, str]:
    if rate.low is None or rate.high is None:
        return f"{rate.k} of {rate.n}", rate.reason or ""
    return f"{rate.k} of {rate.n}", f"{100 * rate.low:.0f} % … {100 * rate.high:.0f} %"
