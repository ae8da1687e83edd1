"""What every defect kind has in common in a scene file: how many, how likely, and where."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from flawsmith.core.config import Settings
from flawsmith.synth.distribution import Draw, NotNegative, Share
from flawsmith.synth.scene import MapStack

Vector = tuple[float, float, float]


class Facing(Settings):
    """The outward normal is within `max_deg` of `axis`, in the part's frame or, as the part lies, the stage's."""

    axis: Vector = (0.0, 0.0, 1.0)
    max_deg: float = Field(default=60.0, gt=0, le=180)
    frame: Literal["part", "stage"] = "part"

    @model_validator(mode="after")
    def _points_somewhere(self) -> "Facing":
        if not any(self.axis):
            raise ValueError("axis [0, 0, 0] has no direction; [0, 0, 1] is up")
        return self


class Region(Settings):
    """A box in the part's frame, mm."""

    low: Vector
    high: Vector

    @model_validator(mode="after")
    def _ordered(self) -> "Region":
        if any(a >= b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(f"low {list(self.low)} must be below high {list(self.high)} along x, y and z")
        return self


class Where(Settings):
    """Where on a part a defect may lie; everything left out is not asked for.

    edge_distance_mm: least and greatest distance of the defect's centre from the nearest sharp edge (35° or more)
    faces:            named CAD faces, or their numbers
    components:       names of components
    """

    normal: Facing | None = None
    region: Region | None = None
    edge_distance_mm: tuple[float, float] | None = None
    faces: tuple[str | int, ...] = ()
    components: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _possible(self) -> "Where":
        if self.edge_distance_mm is not None:
            least, most = self.edge_distance_mm
            if least < 0 or most < least:
                raise ValueError(f"edge_distance_mm [{least:g}, {most:g}]: wanted [least, greatest], neither below 0")
        return self


class DefectSettings(Settings, ABC):
    """One entry of `defects:` in a scene file. Lengths are mm, drawn per defect.

    name:        the label in data sets; the kind where left out
    count:       how many on each part, rounded
    probability: that a part has them at all
    """

    at_edge: ClassVar[bool] = False  # sits across an edge, its normal between those of the two faces

    name: str | None = None
    count: NotNegative = 1.0
    probability: Share = 1.0
    where: Where = Where()

    @model_validator(mode="after")
    def _on_an_edge_or_beside_it(self) -> "DefectSettings":
        if self.at_edge and self.where.edge_distance_mm is not None:
            raise ValueError(f"where.edge_distance_mm: a {self.label} lies on an edge as it is; leave it out")
        return self

    @property
    def label(self) -> str:
        return self.name or str(getattr(self, "kind"))  # noqa: B009 - declared by each kind as its own Literal

    @abstractmethod
    def stack(self, draw: Draw, name: str) -> MapStack:
        """Maps of one defect; numbers are recorded as `name.length_mm` and so on."""

    def drawn(self, draw: Draw, name: str, *fields: str) -> list[float]:
        """The numbers of `fields` for the defect `name`."""
        return [draw.number(getattr(self, field), f"{name}.{field}") for field in fields]
