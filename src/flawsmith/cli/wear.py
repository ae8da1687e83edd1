"""`flawsmith train wear`, and what `evaluate` and `inspect` do with the run that it leaves."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from flawsmith.core.config import Settings
    from flawsmith.decide.wear_head import Head, HeadSettings, Line
    from flawsmith.model.segment import Segmenter
    from flawsmith.model.wear.history import ForecastSettings
    from flawsmith.model.wear.learn import WearRun

NAMES = typer.Option(
    None, "--names", help="Wear: regular expression with (?P<insert>…) and (?P<pass>…) for file names."
)
TABLE = typer.Option(None, "--table", help="Wear: CSV of file, insert, pass, instead of --names.")
HISTORY = typer.Option(None, "--history", help="Wear: CSV of insert, pass, vb_mm; read, and new readings appended.")
PIXEL_MM = typer.Option(None, "--pixel-mm", min=1e-9, help="Wear: edge of a pixel on the flank.")
LIMIT_MM = typer.Option(
    None, "--limit-mm", min=1e-9, help="Wear: VB at which an insert is changed [default: the run's, else 0.3]."
)
EDGE = typer.Option(None, "--edge", help="Wear: top, bottom, left or right, where the free side is; or x0,y0,x1,y1.")
HEAD = typer.Option(None, "--head", help="Wear: name of the cutter head on the page [default: the folder's].")


@dataclass(frozen=True)
class WearAsked:
    """What `inspect` is told that only a wear run understands."""

    names: str | None
    table: Path | None
    history: Path | None
    pixel_mm: float | None
    limit_mm: float | None
    edge: str | None
    head: str | None
    overwrite: bool


def wear(
    dataset: Path = typer.Argument(help="Data set folder with masks of wear and splits; all but test is learnt from."),
    out: Path = typer.Option(..., "--out", help="Run folder: model, resolved settings, segmenter."),
    config: Path | None = typer.Option(None, "--config", help="YAML settings; see docs/classify.md."),
    overrides: list[str] = typer.Option([], "--set", help="Override a setting, e.g. estimate.folds=4."),
    kind: str | None = typer.Option(None, "--kind", help="The defect kind that is wear [default: the only one]."),
    limit_mm: float | None = typer.Option(None, "--limit-mm", help="VB from which an insert is worn."),
    segmenter: Path | None = typer.Option(None, "--segmenter", help="Run of train segment: finds wear in photographs."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Throw away what is in --out and start anew."),
    as_json: bool = typer.Option(False, "--json", help="Report as JSON on stdout."),
) -> None:
    """Learn from masks of flank wear how VB and worn or not follow from a region's size, shape and texture."""
    from dataclasses import asdict

    from flawsmith import pipeline
    from flawsmith.cli.output import emit_json, emit_table, say
    from flawsmith.core.config import load_settings
    from flawsmith.model.wear.learn import WearTrainSettings

    short = {"kind": kind, "limit_mm": limit_mm}
    settings = load_settings(
        WearTrainSettings, config, [*overrides, *(f"{k}={v}" for k, v in short.items() if v is not None)]
    )
    run = pipeline.train_wear(dataset, out, settings, _segmenter(segmenter) if segmenter else None, overwrite, say)
    facts, error = run.facts, run.model.error_
    for name, reason in facts.left_out.items():
        say(f"note: {name} is left out: {reason}")
    if as_json:
        told = facts.model_dump(mode="json", exclude={"trained_on", "format", "task"})
        emit_json({"run": str(out), **told, "error": asdict(error)})
    else:
        emit_table(
            f"{facts.regions} regions of {facts.groups} groups, {error.folds} folds by group",
            ("figure", "model", "without one"),
            [
                (f"VB, mean error ({facts.unit})", f"{error.vb_mae:.3g}", f"{error.vb_mae_of_mean:.3g}"),
                ("levels right", f"{error.right} of {error.judged}", f"{error.right_of_usual} of {error.judged}"),
            ],
        )
    say(f"next: flawsmith evaluate {out} {dataset}")


def _segmenter(folder: Path) -> "Segmenter":
    from flawsmith.core.errors import ConfigError
    from flawsmith.model.models import load_model
    from flawsmith.model.segment import Segmenter

    model = load_model(folder)
    if not isinstance(model, Segmenter):
        raise ConfigError(
            f"--segmenter {folder} holds a model of another task; wanted a run of flawsmith train segment"
        )
    return model


def evaluate_wear(
    folder: Path,
    dataset: Path,
    split: str,
    out: Path | None,
    refused: dict[str, object],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Figures of a wear run on one split: report.html and metrics.json."""
    from functools import partial

    from flawsmith import pipeline
    from flawsmith.cli.output import emit_json, emit_table, say, track
    from flawsmith.core.files import check_free
    from flawsmith.dataset import Dataset
    from flawsmith.evaluate.wear_page import write_wear_page

    _refuse(refused, "a wear run")
    out = out or folder / f"report-{split}"
    check_free(out, overwrite, "report")
    data = Dataset.open(dataset)
    watch: Any = partial(track, what="evaluating")
    evaluation, cases = pipeline.evaluate_wear(folder, data, split, watch)
    page = write_wear_page(evaluation, cases, out, overwrite)
    for name, reason in evaluation.left_out.items():
        say(f"note: {name} is left out: {reason}")
    if as_json:
        emit_json(evaluation.to_json())
    else:
        emit_table("figures", ("figure", "value", "95 % interval"), evaluation.table())
    say(evaluation.headline)
    say(f"report: {page}")


def inspect_wear(
    folder: Path, images: list[Path], out: Path, asked: WearAsked, refused: dict[str, object], as_json: bool
) -> None:
    """Measure the photographs of a head's inserts: wear.html and wear.json in --out, and the history goes on.

    Ends with 0 only when every insert was measured and none is at its limit.
    """
    from flawsmith.cli.output import emit_json, say, track
    from flawsmith.core.files import check_free
    from flawsmith.decide.wear_head import list_shots, read_head
    from flawsmith.decide.wear_report import write_wear_report
    from flawsmith.model.wear.history_file import append_history, read_history
    from flawsmith.model.wear.learn import WearRun

    _refuse(refused, "a wear run")
    check_free(out, asked.overwrite, "report")
    shots = list_shots(images, asked.names, asked.table)
    _check_units(asked, any(shot.passes is not None for shot in shots))
    earlier = read_history(asked.history) if asked.history else {}
    run = WearRun.load(folder)
    watched = track(shots, "measuring", len(shots))
    found = read_head(watched, run, earlier, _head_settings(run, asked.pixel_mm, asked.edge))
    settings = _forecast(run, asked.limit_mm)
    page = write_wear_report(found.inserts, out, asked.head or _folder_name(images), settings, asked.overwrite)
    for name, reason in found.left_out.items():
        say(f"note: {name} is left out: {reason}")
    if asked.history:
        say(f"history: {append_history(asked.history, found.readings)} new readings in {asked.history}")
    rows = _told(found, settings)
    if as_json:
        emit_json({"limit_mm": settings.limit_mm, "inserts": rows, "left_out": found.left_out, "report": str(page)})
    else:
        _show(rows)
    say(f"report: {page}")
    if found.left_out or any(row["over"] for row in rows):
        raise typer.Exit(1)


def _check_units(asked: WearAsked, passes: bool) -> None:
    """What is counted in mm needs a scale, what is counted in passes needs passes."""
    from flawsmith.core.errors import ConfigError

    if asked.pixel_mm is None and (asked.history or asked.limit_mm):
        what = "--history" if asked.history else "--limit-mm"
        raise ConfigError(f"{what} is in mm: say with --pixel-mm how large a pixel is")
    if asked.history and not passes:
        raise ConfigError(
            "--history counts passes, and no photograph names one: add (?P<pass>…) to --names, or take --table"
        )


def refuse_wear_options(asked: WearAsked) -> None:
    """Raise `ConfigError` for options that only a wear run understands."""
    _refuse({f"--{name.replace('_', '-')}": value for name, value in vars(asked).items()}, "a recipe")


def _refuse(given: dict[str, object], what: str) -> None:
    from flawsmith.core.errors import ConfigError

    wrong = [name for name, value in given.items() if value is not None and value is not False]
    if wrong:
        raise ConfigError(f"{', '.join(wrong)} means nothing to {what}: leave it out")


def _head_settings(run: "WearRun", pixel_mm: float | None, edge: str | None) -> "HeadSettings":
    from flawsmith.decide.wear_head import HeadSettings

    survey, line = run.settings.survey, None
    if edge is not None:
        side, line = _edge(edge)
        if side is not None:
            there = survey.measure.edge.model_copy(update={"outside": side})
            survey = _with(survey, measure=_with(survey.measure, edge=there))
    return HeadSettings(survey, pixel_mm, line)


def _with(settings: "Settings", **changed: object) -> Any:
    return settings.model_copy(update=changed)


def _edge(text: str) -> tuple[str | None, "Line | None"]:
    """A side, or a line of two points."""
    from flawsmith.core.errors import ConfigError

    if text in ("top", "bottom", "left", "right"):
        return text, None
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--edge {text!r}: wanted top, bottom, left, right or x0,y0,x1,y1 in pixels") from None
    return None, ((x0, y0), (x1, y1))


def _forecast(run: "WearRun", limit_mm: float | None) -> "ForecastSettings":
    from flawsmith.model.wear.history import ForecastSettings

    limit = limit_mm or run.settings.limit_mm
    return ForecastSettings(limit_mm=limit) if limit else ForecastSettings()


def _folder_name(images: list[Path]) -> str:
    first = images[0].resolve()
    return first.name if first.is_dir() else first.parent.name


def _told(found: "Head", settings: "ForecastSettings") -> list[dict[str, Any]]:
    from flawsmith.decide.wear_report import over_limit
    from flawsmith.model.wear.history import forecast_wear

    rows = []
    for insert in found.inserts:
        wear, forecast = insert.measurement, forecast_wear(insert.history, settings) if insert.history else None
        rows.append(
            {
                "insert": insert.name,
                "vb_mean_mm": wear and wear.vb_mean_mm,
                "vb_max_mm": wear and wear.vb_max_mm,
                "vb_mean_px": wear and wear.vb_mean_px,
                "vb_max_px": wear and wear.vb_max_px,
                "estimated_level": insert.estimate and insert.estimate.level,
                "passes": insert.history.readings[-1].passes if insert.history else None,
                "limit_at": forecast and forecast.at,
                "low": forecast and forecast.low,
                "high": forecast and forecast.high,
                "reason": forecast and forecast.reason,
                "over": over_limit(wear, forecast, settings),
            }
        )
    return rows


def _show(rows: list[dict[str, Any]]) -> None:
    from flawsmith.cli.output import emit_table

    lines = []
    for row in rows:
        unit = "px" if row["vb_mean_mm"] is None else "mm"
        digits = 1 if unit == "px" else 3
        size = [f"{v:.{digits}f}" if (v := row[f"vb_{name}_{unit}"]) is not None else "" for name in ("mean", "max")]
        ends = f"{row['low']:.1f} … {row['high']:.1f}" if row["low"] is not None else row["reason"] or ""
        at = "" if row["limit_at"] is None else f"{row['limit_at']:.1f}"
        passes = "" if row["passes"] is None else f"{row['passes']:g}"
        lines.append((row["insert"], *size, unit if any(size) else "", passes, "now" if row["over"] else at, ends))
    columns = ("insert", "VB mean", "VB max", "", "passes", "limit at pass", "interval")
    emit_table("inserts", columns, lines)
