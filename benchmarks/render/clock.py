"""Where the CPU seconds of `generate` go: its own functions, clocked from outside, each second counted once."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PHASES = ("build", "pre-pass", "sampling", "denoise", "write")
_OF_RENDERER = {"build": "build", "label": "pre-pass", "sample": "sampling", "denoise": "denoise"}


class Clock:
    """Seconds by phase. What is nested in another phase is not counted there as well."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = cpu_seconds()
        self._inner.append(0.0)
        yield
        spent = cpu_seconds() - began
        self.seconds[name] += spent - self._inner.pop()
        self._inner[-1] += spent

    def clocked(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            with self.phase(name):
                return function(*args, **named)

        return call

    def rendered(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A renderer tells its phases itself; what it leaves out is the making of its scene."""

        def call(*args: Any, **named: Any) -> Any:
            with self.phase("build"):
                made = function(*args, **named)
            for phase, seconds in made.seconds.items():
                self.seconds[_OF_RENDERER[phase]] += seconds
                self.seconds["build"] -= seconds
            return made

        return call


@contextmanager
def watching() -> Iterator[Clock]:
    """Clock drawing, geometry, renderer, lens, sensor and encoding; what an item takes besides is the pre-pass."""
    from flawsmith.synth.generate import image, shoot

    clock = Clock()
    places = [(shoot, "draw_scene", "build"), (shoot.Studio, "shapes", "build"), (shoot, "distort", "write")]
    places += [(image, "expose", "write"), (image, "encode_sample", "write")]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in [*places, (shoot, "render", "")]]
    try:
        for owner, name, phase in places:
            setattr(owner, name, clock.clocked(getattr(owner, name), phase))
        setattr(shoot, "render", clock.rendered(shoot.render))  # noqa: B010 - as the others
        yield clock
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def cpu_seconds() -> float:
    """Of this process, and of the Cycles process where there is one."""
    from flawsmith.synth.render import cycles

    child = cycles._worker
    if child is None or child.process.poll() is not None:
        return time.process_time()
    import psutil

    spent = psutil.Process(child.process.pid).cpu_times()
    return time.process_time() + spent.user + spent.system
