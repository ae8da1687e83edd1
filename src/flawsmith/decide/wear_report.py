"""`wear.html`, all inserts of a cutter head on one page that needs nothing else, and `wear.json` beside it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from flawsmith import __version__
from flawsmith.core.errors import ConfigError
from flawsmith.core.files import staged_folder, write_atomic, write_json
from flawsmith.core.image import encode_png
from flawsmith.evaluate.report import amount, data_uri
from flawsmith.model.wear.estimate import WearEstimate
from flawsmith.model.wear.history import ForecastSettings, WearForecast, WearHistory, forecast_wear
from flawsmith.model.wear.measure import VB_B_MAX_LIMIT_MM, WearMeasurement

PAGE = "wear.html"
FIGURES = "wear.json"


@dataclass(frozen=True, eq=False)
class InsertWear:
    """One insert of the head.

    measurement: of its newest picture; picture: RGB uint8, as `model.wear.picture.draw_wear` gives it
    history:     its readings over passes, the newest included; None: no forecast
    estimate:    what a `WearModel` says of it
    """

    name: str
    measurement: WearMeasurement | None = None
    picture: np.ndarray | None = field(default=None, repr=False)
    history: WearHistory | None = None
    estimate: WearEstimate | None = None


@dataclass(frozen=True, eq=False)
class _Row:
    insert: InsertWear
    forecast: WearForecast | None
    png: bytes
    svg: str
    over: bool


def write_wear_report(
    inserts: Sequence[InsertWear],
    out_dir: Path,
    head: str = "cutter head",
    settings: ForecastSettings | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the folder of `wear.html` and `wear.json`, whole or not at all; the page's path.

    The same inserts give the same bytes. Raises `ConfigError` when there are no inserts, two have one name, or the
    folder is in the way.
    """
    settings = settings or ForecastSettings()
    rows = _rows(inserts, settings)
    with staged_folder(out_dir, overwrite, "report") as stage:
        write_json(stage / FIGURES, {"head": head, "settings": settings.model_dump(mode="json"), **_figures(rows)})
        write_atomic(stage / PAGE, _render(rows, head, settings).encode("utf-8", "replace"))
    return out_dir / PAGE


def render_wear(
    inserts: Sequence[InsertWear], head: str = "cutter head", settings: ForecastSettings | None = None
) -> str:
    """The page alone. Every text is escaped by the template engine."""
    settings = settings or ForecastSettings()
    return _render(_rows(inserts, settings), head, settings)


def _rows(inserts: Sequence[InsertWear], settings: ForecastSettings) -> list[_Row]:
    names = [insert.name for insert in inserts]
    if not names:
        raise ConfigError("a report of no inserts: give one at least")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"inserts {', '.join(map(repr, twice))} are given twice: put each one's passes in one history"
        )
    from flawsmith.decide.wear_plot import history_plot  # matplotlib is slow to import, and only the page needs it

    rows = []
    for number, insert in enumerate(inserts):
        forecast = None if insert.history is None else forecast_wear(insert.history, settings)
        svg = ""
        if insert.history is not None and insert.history.readings and forecast is not None:
            svg = history_plot(f"insert{number}", insert.history, forecast)
        png = b"" if insert.picture is None else encode_png(insert.picture)
        rows.append(_Row(insert, forecast, png, svg, over_limit(insert.measurement, forecast, settings)))
    return rows


def _render(rows: list[_Row], head: str, settings: ForecastSettings) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"amount": amount, "data_uri": data_uri, "length": length}
    template = environment.get_template("wear_report.html.jinja")
    return template.render(
        rows=rows, head=head, settings=settings, headline=headline(rows, settings), version=__version__
    )


def length(measurement: WearMeasurement, name: str) -> str:
    """A figure of the measurement in mm where the pixel's size is known, else in pixels, with its unit; or a dash."""
    px = getattr(measurement, f"{name}_px")
    if px is None:
        return "–"
    return f"{px:.1f} px" if measurement.pixel_mm is None else f"{px * measurement.pixel_mm:.3f} mm"


def headline(rows: list[_Row], settings: ForecastSettings) -> str:
    """The one sentence that decides: which inserts are at the limit, else which will be first."""
    limit = f"{settings.limit_mm:g} mm"
    reached = [row.insert.name for row in rows if row.over]
    if reached:
        return f"Change now: {', '.join(reached)} reached VB {limit}, or VB max {VB_B_MAX_LIMIT_MM:g} mm."
    forecasts = [(row.insert.name, row.forecast) for row in rows if row.forecast is not None]
    ahead = [(f.low, f.at, name) for name, f in forecasts if f.low is not None and f.at is not None]
    blind = len(rows) - len(ahead)
    rest = f" For {blind} of {len(rows)} inserts it cannot be foreseen." if blind else ""
    if not ahead:
        return f"When VB {limit} is reached cannot be foreseen for any insert; the table says why."
    low, at, name = min(ahead)
    return (
        f"Insert {name} is the first to reach VB {limit}: around pass {at:.0f}, and with {(1 + settings.level) / 2:.0%}"
        f" confidence not before pass {low:.0f}.{rest}"
    )


def over_limit(wear: WearMeasurement | None, forecast: WearForecast | None, settings: ForecastSettings) -> bool:
    """By a reading of its history or by its newest picture, whichever says so first."""
    if forecast is not None and forecast.reached:
        return True
    if wear is None or wear.vb_mean_mm is None or wear.vb_max_mm is None:
        return False
    return wear.vb_mean_mm >= settings.limit_mm or wear.vb_max_mm >= VB_B_MAX_LIMIT_MM


def _figures(rows: list[_Row]) -> dict[str, Any]:
    names = ("vb_mean", "vb_max", "notch", "corner_wear", "edge_deviation", "worn_length")
    inserts = []
    for row in rows:
        wear, history = row.insert.measurement, row.insert.history
        inserts.append(
            {
                "name": row.insert.name,
                "measurement": wear
                and {
                    "pixel_mm": wear.pixel_mm,
                    **{f"{name}_px": getattr(wear, f"{name}_px") for name in names},
                    **{f"{name}_mm": getattr(wear, f"{name}_mm") for name in names},
                    "area_px": wear.area_px,
                    "area_mm2": wear.area_mm2,
                    "edge": asdict(wear.edge),
                    "notes": wear.notes,
                },
                "estimate": row.insert.estimate and asdict(row.insert.estimate),
                "readings": history and [asdict(reading) for reading in history.readings],
                "forecast": row.forecast and asdict(row.forecast),
            }
        )
    return {"inserts": inserts}
