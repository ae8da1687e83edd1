"""`flawsmith inspect`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import typer

from flawsmith.cli.wear import (
    EDGE,
    HEAD,
    HISTORY,
    LIMIT_MM,
    NAMES,
    PIXEL_MM,
    TABLE,
    WearAsked,
    inspect_wear,
    refuse_wear_options,
)

if TYPE_CHECKING:
    from flawsmith.line.inspector import Inspector


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
    app.command()(inspect)


def inspect(
    recipe: Path = typer.Argument(help="Recipe folder of flawsmith export, or run folder of flawsmith train wear."),
    images: list[Path] = typer.Argument(help="Image files, or folders of them."),
    out: Path = typer.Option(..., "--out", help="Folder for verdicts.jsonl and overlays, or for wear.html."),
    engine: str | None = typer.Option(None, "--engine", help="Engine [default: the fastest that passed parity]."),
    threads: int | None = typer.Option(None, "--threads", min=1, help="Processors to use [default: all]."),
    roi: Path | None = typer.Option(None, "--roi", help="Mask image instead of the recipe's: its bright part counts."),
    camera: Path | None = typer.Option(
        None, "--camera", help="camera.json, the station's calibration: how a part lies is told in mm too."
    ),
    resume: bool = typer.Option(False, "--resume", help="Go on with the verdicts in --out; done images are skipped."),
    overlays: bool = typer.Option(True, "--overlays/--no-overlays", help="Write a picture of each verdict."),
    golden: bool = typer.Option(True, "--golden/--no-golden", help="Run the recipe's golden images first."),
    together: str | None = typer.Option(
        None, "--together", help="Regular expression on the path that names the part: its images get one verdict."
    ),
    views: int | None = typer.Option(None, "--views", min=1, help="With --together: images that each part must have."),
    names: str | None = NAMES,
    table: Path | None = TABLE,
    history: Path | None = HISTORY,
    pixel_mm: float | None = PIXEL_MM,
    limit_mm: float | None = LIMIT_MM,
    edge: str | None = EDGE,
    head: str | None = HEAD,
    overwrite: bool = typer.Option(False, "--overwrite", help="Wear: replace the report in --out."),
    as_json: bool = typer.Option(False, "--json", help="Summary as JSON on stdout."),
) -> None:
    """Judge images by a recipe: verdicts.jsonl and overlays in --out, what is not OK on stdout.

    Ends with 0 only when every image is OK: NG and REVIEW both end with 1. With --together a part is as good as its
    worst view, and parts.json says so. With a run of train wear: the report of a
    cutter head, and 1 where an insert is at its limit or could not be measured.
    """
    from flawsmith.cli.output import emit_json, say, track
    from flawsmith.core.camera import load_camera
    from flawsmith.core.errors import ConfigError
    from flawsmith.core.files import write_json
    from flawsmith.line.batch import OVERLAYS, VERDICTS, inspect_images, list_images
    from flawsmith.line.inspector import Inspector
    from flawsmith.line.recipe import read_roi
    from flawsmith.line.views import PARTS, check_parts, count_parts, part_verdicts, view_pattern
    from flawsmith.model.wear.mark import holds_wear

    asked = WearAsked(names, table, history, pixel_mm, limit_mm, edge, head, overwrite)
    if holds_wear(recipe):
        of_recipes: dict[str, object] = {"--engine": engine, "--threads": threads, "--roi": roi, "--resume": resume}
        of_recipes |= {"--together": together, "--views": views, "--camera": camera}
        inspect_wear(recipe, images, out, asked, of_recipes, as_json)
        return
    refuse_wear_options(asked)
    if views is not None and together is None:
        raise ConfigError("--views counts the images of a part: name the part with --together")
    pattern = view_pattern(together) if together else None
    items = [item for item in list_images(images) if not item.path.resolve().is_relative_to((out / OVERLAYS).resolve())]
    check_parts([str(item.path) for item in items], pattern)
    passed_over = _others(images) - len(items)
    if passed_over > 0:
        say(f"note: {passed_over} other files in these folders are no images by their names and were not inspected")
    region, calibrated = read_roi(roi) if roi else None, load_camera(camera) if camera else None
    inspector = Inspector(recipe, engine, threads, region, calibrated)
    if inspector.recipe.edited:
        say("note: decision.json was edited after export; each verdict names the SHA-256 of the one used")
    if golden:
        _prove(inspector, threads)
    lines = inspect_images(inspector, items, out, resume, overlays)
    rows = list(track(lines, "inspecting", len(items)))
    counts = Counter(row["status"] for row in rows)
    parts = part_verdicts(rows, pattern, views) if pattern else None
    if parts is not None:
        write_json(out / PARTS, parts)
    if as_json:
        told = _summary(inspector, rows, counts, out / VERDICTS)
        emit_json(told if parts is None else {**told, "parts": parts})
    else:
        for row in rows if parts is None else parts:
            if row["status"] != "OK":
                typer.echo(f"{row['status']}\t{row.get('part') or row['file']}\t{_first_reason(row)}")
    told = ", ".join(f"{counts[status]} {status}" for status in ("OK", "NG", "REVIEW"))
    say(f"{len(rows)} images: {told}; {inspector.engine}, median {_median_ms(rows):.0f} ms; {out / VERDICTS}")
    if parts is not None:
        say(f"{len(parts)} parts: {count_parts(parts)}; {out / PARTS}")
    if any(row["status"] != "OK" for row in (rows if parts is None else parts)):
        raise typer.Exit(1)


def _others(inputs: Sequence[Path]) -> int:
    """Files in reach of the inputs, hidden ones left out."""
    found = {p for given in inputs for p in (given.rglob("*") if given.is_dir() else [given]) if p.is_file()}
    return sum(not any(part.startswith(".") for part in p.parts) for p in found)


def _prove(inspector: "Inspector", threads: int | None) -> None:
    """Raise `GateError` when this machine does not give the golden verdicts."""
    from flawsmith.core.errors import GateError
    from flawsmith.line.golden import verify_golden

    problems = verify_golden(inspector.recipe, inspector.engine, threads).problems
    if problems:
        raise GateError(
            f"{inspector.engine} does not reproduce the golden images on this machine ({problems[0]}): "
            "choose another --engine, or export the recipe on a machine like this one"
        )


def _first_reason(row: dict[str, Any]) -> str:
    first, *others = row["reasons"]
    return f"{first} (+{len(others)} more)" if others else first


def _median_ms(rows: Sequence[dict[str, Any]]) -> float:
    return median(row["ms"] for row in rows)


def _summary(
    inspector: "Inspector", rows: Sequence[dict[str, Any]], counts: Counter[str], journal: Path
) -> dict[str, Any]:
    return {
        "recipe": inspector.recipe.info.name,
        "recipe_digest": inspector.recipe.digest,
        "decision_sha256": inspector.recipe.decision_sha256,
        "decision_edited": inspector.recipe.edited,
        "engine": inspector.engine,
        "images": len(rows),
        "ok": counts["OK"],
        "ng": counts["NG"],
        "review": counts["REVIEW"],
        "ms_median": _median_ms(rows),
        "verdicts": str(journal),
    }
