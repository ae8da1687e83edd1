"""Break: a part that was struck hard. Material is gone, the rest is bent, and dirt or rust sits in the wound."""

from typing import ClassVar, Literal

import numpy as np

from flawsmith.synth.defect.canvas import Canvas, ramp
from flawsmith.synth.defect.deformation import fold, plough
from flawsmith.synth.defect.hole import break_out
from flawsmith.synth.defect.settings import DefectSettings
from flawsmith.synth.distribution import Draw, LogUniform, Positive, Share, Uniform
from flawsmith.synth.scene import MapStack


class Break(DefectSettings):
    """All three families in one place: a piece broken off an edge, the edge bent beside it, scored and soiled."""

    at_edge: ClassVar[bool] = True
    kind: Literal["break"] = "break"
    length_mm: Positive = LogUniform(log_uniform=(3, 8))
    depth_mm: Positive = LogUniform(log_uniform=(0.8, 2))
    soiled: Share = Uniform(uniform=(0.2, 0.8))

    def stack(self, draw: Draw, name: str) -> MapStack:
        length, depth, soiled = self.drawn(draw, name, "length_mm", "depth_mm", "soiled")
        canvas = Canvas(length, length / 40, draw.rng(f"{name}.shape"))
        fold(canvas, 0.95 * length, 0.3 * depth)
        for _ in range(canvas.rng.integers(2, 5)):
            start = canvas.rng.uniform(-0.25, 0.25, 2) * length
            heading = canvas.rng.normal(0, 1, 2)
            heading *= canvas.rng.uniform(0.1, 0.22) * length / np.linalg.norm(heading)
            plough(canvas, np.stack([start - heading, start + heading]), 0.03 * length, 0.03 * depth, 0.4, 0.7)
        break_out(canvas, (0.3 * length, 0.26 * length, depth), 0.6, square=2.5)
        near = np.exp(-((np.hypot(canvas.x, canvas.y) / (0.42 * length)) ** 4))
        smear = ramp(canvas.noise(length / 4) + 1.2 * near, 0.9, 1.8) * near
        canvas.paint(soiled * smear, (0.06, 0.045, 0.03), 0.75)
        return canvas.stack()
