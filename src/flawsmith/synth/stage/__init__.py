"""Where parts lie: a conveyor belt, a light box, a robot's bin, a table for sheets."""

from flawsmith.synth.stage.build import BUILDERS, StageSpec, draw_stage

__all__ = ["BUILDERS", "StageSpec", "draw_stage"]
