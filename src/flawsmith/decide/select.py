"""Which images count, and which of them are one part: bounds need independent parts of the right split and origin."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal

from flawsmith.core.errors import DataError
from flawsmith.core.sample import Sample

Unit = Literal["part", "lot", "session", "camera", "image"]
Parts = dict[str, list[int]]


@dataclass(frozen=True)
class Facts:
    """What is known of an image. `found`: the kinds of its labelled defects, or its label where no region is marked."""

    id: str
    healthy: bool
    found: frozenset[str] = frozenset()
    groups: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    synthetic: bool = False

    @classmethod
    def of(cls, sample: Sample) -> "Facts":
        found = frozenset(defect.kind for defect in sample.defects) or frozenset({sample.label})
        return cls(
            id=sample.id,
            healthy=sample.healthy,
            found=frozenset() if sample.healthy else found,
            groups=sample.groups,
            split=sample.split,
            synthetic=sample.provenance != "real",
        )


@dataclass(frozen=True)
class Selection:
    """The parts by name, each with the positions of its images; a part is defective when any of its images is."""

    defective: Parts
    healthy: Parts
    notes: tuple[str, ...]


def select(
    facts: Sequence[Facts],
    split: str,
    unit: Unit = "part",
    provenance: Literal["real", "synthetic"] = "real",
    ignored: AbstractSet[str] = frozenset(),
) -> Selection:
    """Sort the images into defective and healthy parts.

    Parts with no other defects than `ignored` kinds are neither and are left out, as are images of the other
    provenance; `notes` say how many. Raises `DataError` for an image of another split, or when nothing is left.
    """
    for fact in facts:
        if fact.split is not None and fact.split != split:
            raise DataError(f"{fact.id} is of the {fact.split} split, wanted {split}; pass that split only")
    kept = [i for i, fact in enumerate(facts) if fact.synthetic == (provenance == "synthetic")]
    notes = _origin_notes(len(kept), len(facts), provenance)
    if not kept:
        raise DataError(f"no {provenance} images of the {split} split{': ' + notes[0] if notes else ''}")
    parts = _by_part(facts, kept, unit)
    healthy = {name: rows for name, rows in parts.items() if all(facts[i].healthy for i in rows)}
    tolerated = {name for name, rows in parts.items() if name not in healthy and _only(ignored, facts, rows)}
    defective = {name: rows for name, rows in parts.items() if name not in healthy and name not in tolerated}
    if tolerated:
        notes.append(f"{len(tolerated)} parts with ignored kinds only ({', '.join(sorted(ignored))}) were left out")
    notes += _unit_notes([facts[i] for i in kept], len(parts), unit)
    if any(facts[i].split is None for i in kept):
        notes.append("some images are in no split; if the model learned from them, nothing below holds")
    return Selection(defective, healthy, tuple(notes))


def _by_part(facts: Sequence[Facts], kept: Sequence[int], unit: Unit) -> Parts:
    """An image outside any group is a part by itself, even if its name is also that of a group."""
    parts: dict[tuple[bool, str], list[int]] = {}
    for i in kept:
        group = facts[i].groups.get(unit)
        parts.setdefault((group is not None, group or facts[i].id), []).append(i)
    return {
        name if grouped or (True, name) not in parts else f"{name} (image)": i for (grouped, name), i in parts.items()
    }


def _only(ignored: AbstractSet[str], facts: Sequence[Facts], rows: Sequence[int]) -> bool:
    """Whether defects are known on this part and all of them are of ignored kinds."""
    found = frozenset[str]().union(*(facts[i].found for i in rows))
    return bool(found) and found <= ignored


def _origin_notes(kept: int, given: int, provenance: Literal["real", "synthetic"]) -> list[str]:
    notes = []
    if provenance == "synthetic":
        notes.append("on synthetic images: this shows nothing about real parts")
    if kept < given:
        other = "synthetic" if provenance == "real" else "real"
        notes.append(f"{given - kept} {other} images were left out: synthetic and real are never counted together")
    return notes


def _unit_notes(facts: Sequence[Facts], parts: int, unit: Unit) -> list[str]:
    """What n counts, and whether that overstates it."""
    named = sum(unit in fact.groups for fact in facts)
    if named == 0:
        shared = [key for key in ("part", "session") if _is_shared(key, facts)]
        if shared:
            return [f"images that share a {shared[0]} are not independent; n is overstated, count by {shared[0]}"]
        return [] if unit == "image" else [f"no image names its {unit}: each image counts as one {unit}"]
    if named < len(facts):
        return [f"{len(facts) - named} images name no {unit} and count as one each"]
    return [f"{len(facts)} images of {parts} {unit}s: n counts {unit}s"] if parts < len(facts) else []


def _is_shared(key: str, facts: Sequence[Facts]) -> bool:
    values = [fact.groups[key] for fact in facts if key in fact.groups]
    return len(set(values)) < len(values)
