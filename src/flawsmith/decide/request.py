"""What the user wants of a calibration."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from flawsmith.core.config import Settings
from flawsmith.core.errors import ConfigError, nearest
from flawsmith.decide.rules import RateName
from flawsmith.decide.select import Unit
from flawsmith.decide.summary import THRESHOLDS


class CostMatrix(Settings):
    """Money per part. `prevalence` is the share of defective parts in production, not in the validation split."""

    escape: float = Field(ge=0)
    false_reject: float = Field(ge=0)
    review: float | None = Field(default=None, ge=0)
    prevalence: float = Field(gt=0, lt=1)


class KindRequest(Settings):
    """What is settled beforehand for one kind; see `RegionRule`."""

    action: Literal["reject", "review", "ignore"] = "reject"
    max_count: int = Field(default=0, ge=0)
    joined_at: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _complete(self) -> "KindRequest":
        if self.max_count > 0 and self.joined_at is None:
            raise ValueError("max_count needs joined_at, the score at which regions that touch count as one, say 0.3")
        return self


class CalibrationRequest(Settings):
    """What is wanted. At least one of the two targets or `costs`.

    min_areas_px: candidates, declared beforehand; several share the error probability, so each needs more parts. Left
                  out: 1 with a target, all areas that occur without one
    unit:         what counts as one part; its images share one verdict, the worst
    """

    max_escape: float | None = Field(default=None, gt=0, lt=1)
    max_false_reject: float | None = Field(default=None, gt=0, lt=1)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    costs: CostMatrix | None = None
    allow_review: bool = True
    min_areas_px: tuple[int, ...] | None = Field(default=None, min_length=1)
    thresholds: tuple[float, ...] = Field(default=THRESHOLDS, min_length=1)
    unit: Unit = "part"
    split: str = "val"
    provenance: Literal["real", "synthetic"] = "real"
    kinds: dict[str, KindRequest] = Field(default_factory=dict)
    dataset: str = ""
    dataset_hash: str = ""
    model: str = ""

    @model_validator(mode="after")
    def _makes_sense(self) -> "CalibrationRequest":
        if self.max_escape is None and self.max_false_reject is None and self.costs is None:
            raise ValueError("nothing to choose by; give max_escape, max_false_reject or costs")
        if self.split in ("train", "test"):
            raise ValueError(f"the {self.split} split must not choose thresholds; use val, or assess a decision on it")
        for name, values in (("thresholds", self.thresholds), ("min_areas_px", self.min_areas_px or (1,))):
            if any(b <= a for a, b in pairwise(values)) or values[0] <= 0:
                raise ValueError(f"{name} must be above 0 and ascending, each once")
        if self.thresholds[-1] > 1:
            raise ValueError("thresholds must not be above 1")
        if not self.levels:
            raise ValueError("no threshold is as high as joined_at; lower joined_at or add higher thresholds")
        return self

    @property
    def levels(self) -> tuple[float, ...]:
        """The thresholds, without those below the score at which regions are joined for counting."""
        floor = max((kind.joined_at or 0.0 for kind in self.kinds.values()), default=0.0)
        return tuple(level for level in self.thresholds if level >= floor)

    @property
    def areas(self) -> tuple[int, ...] | None:
        """The candidate minimum areas; None: every one that occurs."""
        return self.min_areas_px or ((1,) if self.targets else None)

    @property
    def band(self) -> bool:
        """Whether a REVIEW band may lie between two thresholds."""
        return self.allow_review and (self.costs.review is not None if self.costs else len(self.targets) == 2)

    @property
    def targets(self) -> tuple[tuple[RateName, float], ...]:
        """The rates to be shown, each with its target."""
        given: tuple[tuple[RateName, float | None], ...] = (
            ("escape", self.max_escape),
            ("false_reject", self.max_false_reject),
        )
        return tuple((name, target) for name, target in given if target is not None)

    @property
    def counting(self) -> dict[str, tuple[int, float]]:
        """(max_count, joined_at) of the kinds of which some regions are allowed."""
        return {
            kind: (asked.max_count, asked.joined_at)
            for kind, asked in self.kinds.items()
            if asked.max_count > 0 and asked.joined_at is not None
        }

    def actions(self, kinds: Sequence[str]) -> list[str]:
        """What each of the model's kinds may do. Raises `ConfigError` where that leaves nothing to choose."""
        for kind in self.kinds:
            if kind not in kinds:
                raise ConfigError(f"the model does not find {kind!r}.{nearest(kind, list(kinds))}")
        actions = [self.kinds[kind].action if kind in self.kinds else "reject" for kind in kinds]
        if "reject" not in actions:
            raise ConfigError("no kind may reject a part, so there is no threshold to choose; let one kind reject")
        if "review" in actions and self.costs and self.costs.review is None:
            raise ConfigError("a kind goes to review but costs.review is missing; give what reviewing a part costs")
        return actions
