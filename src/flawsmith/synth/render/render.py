"""The one door to every renderer: a scene in, its image and labels out."""

from collections.abc import Callable, Sequence

from flawsmith.core.errors import ConfigError, nearest
from flawsmith.synth.render.settings import RenderSettings
from flawsmith.synth.scene import Rendering, Scene, Shape

Renderer = Callable[[Scene, RenderSettings, Sequence[Shape] | None], Rendering]


def render(
    scene: Scene,
    settings: RenderSettings | None = None,
    renderer: str = "mitsuba",
    shapes: Sequence[Shape] | None = None,
) -> Rendering:
    """The image and every label of `scene`.

    shapes: of the parts, as `synth.shapes.shapes` makes them, where it is not all of them; the stage is always added.
    The image is the ideal one of a camera without distortion: see `synth.lens` and `synth.sensor` for what comes after.

    Raises `ConfigError` for an unknown renderer, `DataError` for a scene that cannot be drawn, `EnvironmentFault` where
    the renderer is not installed.
    """
    if renderer not in RENDERERS:
        raise ConfigError(f"unknown renderer {renderer!r}.{nearest(renderer, list(RENDERERS))}")
    return RENDERERS[renderer](scene, settings or RenderSettings(), shapes)


def _mitsuba(scene: Scene, settings: RenderSettings, shapes: Sequence[Shape] | None) -> Rendering:
    from flawsmith.synth.render.mitsuba import render_mitsuba

    return render_mitsuba(scene, settings, shapes)


def _cycles(scene: Scene, settings: RenderSettings, shapes: Sequence[Shape] | None) -> Rendering:
    from flawsmith.synth.render.cycles import render_cycles

    return render_cycles(scene, settings, shapes)


def _relief(scene: Scene, settings: RenderSettings, shapes: Sequence[Shape] | None) -> Rendering:
    from flawsmith.synth.render.relief import render_relief

    if shapes is not None:
        raise ConfigError("the relief renderer draws height fields, not shapes: leave out `shapes`")
    return render_relief(scene, settings)


RENDERERS: dict[str, Renderer] = {"mitsuba": _mitsuba, "cycles": _cycles, "relief": _relief}
