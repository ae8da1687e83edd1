"""`report.html`, one page that needs nothing else, and `metrics.json` beside it."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from flawsmith import __version__
from flawsmith.core.files import staged_folder, write_atomic, write_json
from flawsmith.evaluate.evaluation import ORIGIN, Evaluation, nouns
from flawsmith.evaluate.images import OperatingPoints

REPORT = "report.html"
METRICS = "metrics.json"
_LISTED_POINTS = 60


def write_report(evaluation: Evaluation, out_dir: Path, overwrite: bool = False) -> Path:
    """Write the folder `out_dir` of `report.html` and `metrics.json`, whole or not at all; the page's path.

    The same evaluation gives the same bytes. Raises `EnvironmentFault` when the folder cannot be written, `ConfigError`
    when it is in the way (see `staged_folder`).
    """
    with staged_folder(out_dir, overwrite, "report") as stage:
        write_json(stage / METRICS, evaluation.to_json())
        write_atomic(stage / REPORT, render(evaluation).encode("utf-8", "replace"))
    return out_dir / REPORT


def render(evaluation: Evaluation) -> str:
    """The page. Every text of the data set is escaped by the template engine."""
    from flawsmith.evaluate.plots import plots  # matplotlib is slow to import, and only the page needs it

    return filled(
        "report.html.jinja",
        e=evaluation,
        main=evaluation.main,
        nouns=nouns(evaluation.main),
        origin=ORIGIN,
        plots={p.provenance: plots(p) for p in evaluation.provenances},
        points={p.provenance: listed(p.image.operating_points) for p in evaluation.provenances},
    )


def filled(template: str, **values: Any) -> str:
    """A template of this folder, filled in; it knows the version and the filters below."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": number, "amount": amount, "data_uri": data_uri}
    return environment.get_template(template).render(**values, version=__version__)


def listed(points: OperatingPoints) -> list[tuple[float, int, int, int, int]]:
    """The operating points as rows, thinned evenly to what a page can hold."""
    rows = list(
        zip(
            points.threshold,
            points.correct_passes,
            points.escapes,
            points.false_rejects,
            points.correct_rejects,
            strict=True,
        )
    )
    every = -(-len(rows) // _LISTED_POINTS)
    return rows if every <= 1 else rows[:-1:every] + rows[-1:]


def percent(share: float) -> str:
    """0.1379 as "13.8 %", with more digits next to 0 and 1 where they matter."""
    value = 100 * share
    near_end = 0 < min(value, 100 - value) < 0.1
    return f"{value:.2f} %" if near_end else f"{value:.1f} %"


def number(value: float) -> str:
    return f"{value:.3f}"


def amount(value: float) -> str:
    """Three digits that count, thousands apart."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
