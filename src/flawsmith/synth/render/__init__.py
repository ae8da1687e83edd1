"""A scene as an image with exact labels: Mitsuba by default, Blender's Cycles, or a height field in numpy."""

from flawsmith.synth.render.render import RENDERERS, Renderer, render
from flawsmith.synth.render.settings import RenderSettings

__all__ = ["RENDERERS", "RenderSettings", "Renderer", "render"]
