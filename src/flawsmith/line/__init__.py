"""What runs on the shop floor: open a recipe, inspect, never pass what could not be judged."""

from flawsmith.line.inspector import Inspection, Inspector
from flawsmith.line.recipe import Recipe, open_recipe

__all__ = ["Inspection", "Inspector", "Recipe", "open_recipe"]
