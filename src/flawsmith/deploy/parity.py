"""The parity gate: held-out images through the trained model and through every engine, verdict against verdict."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

import numpy as np
import torch

from flawsmith.core.config import Settings
from flawsmith.core.errors import DataError, FlawsmithError, GateError
from flawsmith.core.geometry import Box
from flawsmith.core.prediction import Status
from flawsmith.core.sample import Sample
from flawsmith.core.spec import ModelSpec, Run, predict_image
from flawsmith.decide.rules import Decision, decide
from flawsmith.line.engine import Precision, engine_kind, engine_spec, open_engine

# An fp32 engine does the same arithmetic: more than rounding is another network, even where no verdict flips.
FP32_SCORE, FP32_MAP = 0.001, 0.01
_TIMED_RUNS = 3


class ImageParity(Settings):
    """One held-out image on one engine. Differences of scores and maps are absolute."""

    id: str
    expected: Status
    status: Status
    expected_score: float
    score: float
    map_max: float
    map_mean: float


class EngineParity(Settings):
    """One engine over all held-out images. `reason` says why it was left out; `ms` is None then."""

    precision: Precision
    passed: bool
    reason: str = ""
    ms: float | None = None
    score_diff: float = 0.0
    map_max: float = 0.0
    map_mean: float = 0.0
    flipped: tuple[str, ...] = ()
    images: tuple[ImageParity, ...] = ()


class Parity(Settings):
    """`parity.json`. `verdicts` counts the trained model's own."""

    schema_version: Literal[1] = 1
    reference: str
    images: int
    verdicts: dict[Status, int]
    warnings: tuple[str, ...]
    engines: dict[str, EngineParity]

    @property
    def passed(self) -> tuple[str, ...]:
        """Engines that passed, the fastest first."""
        return tuple(sorted((n for n, e in self.engines.items() if e.passed), key=lambda n: self.engines[n].ms or 0.0))

    @property
    def left_out(self) -> dict[str, str]:
        """Engines that did not pass, and why."""
        return {name: engine.reason for name, engine in self.engines.items() if not engine.passed}


@dataclass(frozen=True)
class Case:
    """A held-out image, or the part `box` of one."""

    id: str
    sample: Sample
    box: Box | None = None

    def image(self) -> np.ndarray:
        return self._cut(self.sample.image())

    def roi(self, roi: np.ndarray | None) -> np.ndarray | None:
        return None if roi is None else self._cut(roi)

    def _cut(self, plane: np.ndarray) -> np.ndarray:
        if self.box is None:
            return plane
        x0, y0, x1, y1 = self.box
        return np.ascontiguousarray(plane[y0:y1, x0:x1])


@dataclass
class _Candidate:
    name: str
    precision: Precision
    run: Run | None = None
    rows: list[ImageParity] = field(default_factory=list)
    fault: str = ""
    ms: float | None = None


def check_parity(
    reference: Run,
    spec: ModelSpec,
    decision: Decision,
    cases: Sequence[Case],
    engines: Mapping[str, Mapping[str, bytes]],
    roi: np.ndarray | None = None,
    threads: int | None = None,
    progress: Callable[[Case], None] = lambda case: None,
) -> Parity:
    """Compare every engine with the trained model on held-out images.

    reference: the trained model, see `torch_run`
    engines:   the files of each engine, by the names of `line.engine.ENGINES`

    Raises `DataError` without images, `GateError` when an fp32 engine flips a verdict or computes something else: then
    the export itself is wrong. Any other engine that flips a verdict is left out, with its reason.
    """
    if not cases:
        raise DataError("the parity gate needs held-out images and got none; no export can be trusted without")
    candidates = [_open(name, files, spec, threads) for name, files in engines.items()]
    verdicts: Counter[Status] = Counter()
    for case in cases:
        verdicts[_compare(case, reference, spec, decision, case.roi(roi), candidates)] += 1
        progress(case)
    results = {}
    for candidate in candidates:
        results[candidate.name] = result = _judge(candidate, verdicts)
        if result.precision == "fp32" and not result.passed:
            raise GateError(
                f"{candidate.name} does not reproduce the trained model: {result.reason}. Nothing is exported"
            )
    _time([c for c in candidates if results[c.name].passed], cases[0].image(), spec)
    return Parity(
        reference=f"torch {torch.__version__}, fp32",
        images=len(cases),
        verdicts=dict(verdicts),
        warnings=tuple(_warnings(verdicts)),
        engines={c.name: results[c.name].model_copy(update={"ms": c.ms}) for c in candidates},
    )


def _open(name: str, files: Mapping[str, bytes], spec: ModelSpec, threads: int | None) -> _Candidate:
    candidate = _Candidate(name, engine_kind(name).precision)
    try:
        candidate.run = open_engine(name, files, spec, threads)
    except FlawsmithError as error:
        candidate.fault = str(error)
    return candidate


def _compare(
    case: Case,
    reference: Run,
    spec: ModelSpec,
    decision: Decision,
    roi: np.ndarray | None,
    candidates: Sequence[_Candidate],
) -> Status:
    """Adds one row to each candidate; returns the trained model's verdict."""
    image = case.image()
    expected = predict_image(reference, image, spec, roi)
    status = decide(expected, decision).status
    for candidate in candidates:
        if candidate.run is None or candidate.fault:
            continue
        try:
            found = predict_image(candidate.run, image, engine_spec(candidate.name, spec), roi)
        except Exception as error:  # noqa: BLE001 - engines raise what they like, and one that raises did not pass
            candidate.fault = f"{case.id}: {error}"
            continue
        apart = np.abs(found.maps - expected.maps)
        candidate.rows.append(
            ImageParity(
                id=case.id,
                expected=status,
                status=decide(found, decision).status,
                expected_score=expected.score,
                score=found.score,
                map_max=float(apart.max()),
                map_mean=float(apart.mean()),
            )
        )
    return status


def _judge(candidate: _Candidate, verdicts: Mapping[Status, int]) -> EngineParity:
    rows = candidate.rows
    result = EngineParity(
        precision=candidate.precision,
        passed=False,
        score_diff=max((abs(row.score - row.expected_score) for row in rows), default=0.0),
        map_max=max((row.map_max for row in rows), default=0.0),
        map_mean=max((row.map_mean for row in rows), default=0.0),
        flipped=tuple(row.id for row in rows if row.status != row.expected),
        images=tuple(rows),
    )
    reason = candidate.fault or _flips(rows) or _too_far(result) or _unproven(result, verdicts)
    return result.model_copy(update={"passed": not reason, "reason": reason})


def _flips(rows: Sequence[ImageParity]) -> str:
    flipped = [row for row in rows if row.status != row.expected]
    told = [
        f"{row.id} turns from {row.expected} to {row.status} (score {row.expected_score:.4f}, here {row.score:.4f})"
        for row in flipped[:3]
    ]
    more = f" and {len(flipped) - 3} more" if len(flipped) > 3 else ""
    return f"{len(flipped)} of {len(rows)} verdicts flip: {'; '.join(told)}{more}" if flipped else ""


def _too_far(result: EngineParity) -> str:
    if result.precision != "fp32" or (result.score_diff <= FP32_SCORE and result.map_max <= FP32_MAP):
        return ""
    return (
        f"scores differ by up to {result.score_diff:.4f} and maps by {result.map_max:.4f}; "
        f"rounding explains {FP32_SCORE} and {FP32_MAP}"
    )


def _unproven(result: EngineParity, verdicts: Mapping[Status, int]) -> str:
    """Fewer bits must be seen to keep both kinds of verdict: a network that always says OK flips no healthy part."""
    missing = _missing(verdicts)
    return (
        f"cannot be proven without a held-out image that is {missing}" if result.precision != "fp32" and missing else ""
    )


def _missing(verdicts: Mapping[Status, int]) -> str:
    if not verdicts.get("OK"):
        return "OK"
    return "" if verdicts.get("NG") or verdicts.get("REVIEW") else "NG"


def _warnings(verdicts: Mapping[Status, int]) -> list[str]:
    lacking = [status for status in ("OK", "NG") if not verdicts.get(status)]
    return [f"no {status} image was among the {sum(verdicts.values())} held-out images" for status in lacking]


def _time(candidates: Sequence[_Candidate], image: np.ndarray, spec: ModelSpec) -> None:
    """Median milliseconds of one image, after one that warms up."""
    for candidate in candidates:
        assert candidate.run is not None
        taken = []
        for _ in range(1 + _TIMED_RUNS):
            begin = time.perf_counter()
            predict_image(candidate.run, image, engine_spec(candidate.name, spec))
            taken.append(1000 * (time.perf_counter() - begin))
        candidate.ms = round(median(taken[1:]), 3)
