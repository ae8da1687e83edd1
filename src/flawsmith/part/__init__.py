"""CAD in: files and standard parts as named components in millimetres, checked, with their stable poses."""

from flawsmith.part.errors import PartCorruptError, PartError, PartFormatError, PartTooLargeError
from flawsmith.part.guard import Limits
from flawsmith.part.part import Component, Part
from flawsmith.part.poses import StablePose, stable_poses
from flawsmith.part.read import read_part
from flawsmith.part.standard import make_part

__all__ = [
    "Component",
    "Limits",
    "Part",
    "PartCorruptError",
    "PartError",
    "PartFormatError",
    "PartTooLargeError",
    "StablePose",
    "make_part",
    "read_part",
    "stable_poses",
]
