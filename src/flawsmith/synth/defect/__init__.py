"""Procedural defects: maps by kind, placed on a part. A new kind is one class and two lines here."""

from typing import Annotated

from pydantic import Field

from flawsmith.synth.defect.broken import Break
from flawsmith.synth.defect.deformation import BentEdge, Dent, Scratch, Shock, ToolMark
from flawsmith.synth.defect.draw import draw_defects
from flawsmith.synth.defect.encrustation import Burn, Crater, Dirt, Mark, PaintRun, Rust, Stain
from flawsmith.synth.defect.faults import FAULTS, FaultSettings, FaultSpec, apply_fault, draw_faults
from flawsmith.synth.defect.hole import Chip, Crack, Hole, MissingMaterial
from flawsmith.synth.defect.place import Patch, Place, place
from flawsmith.synth.defect.settings import DefectSettings, Where

DEFECTS: dict[str, type[DefectSettings]] = {
    "scratch": Scratch,
    "dent": Dent,
    "shock": Shock,
    "tool_mark": ToolMark,
    "bent_edge": BentEdge,
    "rust": Rust,
    "stain": Stain,
    "burn": Burn,
    "dirt": Dirt,
    "paint_run": PaintRun,
    "crater": Crater,
    "mark": Mark,
    "hole": Hole,
    "crack": Crack,
    "chip": Chip,
    "missing_material": MissingMaterial,
    "break": Break,
}

DefectSpec = Annotated[
    Scratch
    | Dent
    | Shock
    | ToolMark
    | BentEdge
    | Rust
    | Stain
    | Burn
    | Dirt
    | PaintRun
    | Crater
    | Mark
    | Hole
    | Crack
    | Chip
    | MissingMaterial
    | Break,
    Field(discriminator="kind"),
]

__all__ = [
    "DEFECTS",
    "FAULTS",
    "DefectSettings",
    "DefectSpec",
    "FaultSettings",
    "FaultSpec",
    "Patch",
    "Place",
    "Where",
    "apply_fault",
    "draw_defects",
    "draw_faults",
    "place",
]
