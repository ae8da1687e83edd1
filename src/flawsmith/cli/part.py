"""`flawsmith part …`: read CAD files, look at them, make standard parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from flawsmith.part.part import Part

app = typer.Typer(no_args_is_help=True, help="Read, check, view and make the part that is inspected.")

_FORMATS = "STEP, IGES, STL, OBJ, PLY, OFF, glTF, 3MF or X3D file."
_UNIT = "Length unit of the file: um, mm, cm, dm, m, inch, ft. Wanted for STL, OBJ, PLY and OFF, which state none."

File = Annotated[Path, typer.Argument(help=_FORMATS)]
Unit = Annotated[str | None, typer.Option("--unit", help=_UNIT)]
Tolerance = Annotated[
    float | None, typer.Option("--tolerance-mm", help="Of triangles against CAD surfaces; default: diagonal / 5000.")
]
FileMb = Annotated[float, typer.Option("--file-mb", min=1, help="Largest file, and content of a zipped one.")]
MemoryMb = Annotated[float, typer.Option("--memory-mb", min=512, help="Most memory that reading may take.")]
Seconds = Annotated[float, typer.Option("--seconds", min=1, help="Longest time that reading may take.")]
Triangles = Annotated[int, typer.Option("--triangles", min=1, help="Most triangles.")]
AsJson = Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")]


@app.command()
def info(
    file: File,
    unit: Unit = None,
    tolerance_mm: Tolerance = None,
    file_mb: FileMb = 512,
    memory_mb: MemoryMb = 6144,
    seconds: Seconds = 180,
    triangles: Triangles = 5_000_000,
    as_json: AsJson = False,
) -> None:
    """Size, volume, components, stable poses, and what is wrong. Exit code 1 when there are errors."""
    from flawsmith.cli.output import emit_json
    from flawsmith.part.check import check_part
    from flawsmith.part.poses import stable_poses
    from flawsmith.part.summary import part_summary

    part = _read(file, unit, tolerance_mm, file_mb, memory_mb, seconds, triangles)
    findings = check_part(part)
    flat = any(finding.code == "flat" for finding in findings)
    report = part_summary(part, () if flat else stable_poses(part), findings)
    emit_json(report) if as_json else _show(report)
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)


@app.command()
def view(
    file: File,
    out: Annotated[Path | None, typer.Option("--out", help="PNG to write: the part from eight sides.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="3-D viewer to write: one page, no network.")] = None,
    unit: Unit = None,
    tolerance_mm: Tolerance = None,
    columns: Annotated[int, typer.Option(min=1, max=24, help="Sides in a row of the PNG.")] = 4,
    rows: Annotated[int, typer.Option(min=1, max=6, help="Rows of the PNG, from above to below.")] = 2,
    cell_px: Annotated[int, typer.Option("--cell-px", min=32, max=1024, help="Edge of one picture of the PNG.")] = 360,
    file_mb: FileMb = 512,
    memory_mb: MemoryMb = 6144,
    seconds: Seconds = 180,
    triangles: Triangles = 5_000_000,
    as_json: AsJson = False,
) -> None:
    """Draw a part from several sides, or write it as a 3-D page with a tree to hide and show sub-assemblies."""
    from flawsmith.cli.output import emit_json, say
    from flawsmith.core.errors import ConfigError
    from flawsmith.core.files import write_atomic

    if out is None and html is None:
        raise ConfigError("nothing to write: give --out turntable.png, --html part.html or both")
    part = _read(file, unit, tolerance_mm, file_mb, memory_mb, seconds, triangles)
    if out is not None:
        from flawsmith.core.image import encode_png
        from flawsmith.part.turntable import turntable

        write_atomic(out, encode_png(turntable(part, columns, rows, cell_px)))
    if html is not None:
        from flawsmith.part.viewer import viewer_page

        write_atomic(html, viewer_page(part).encode())
    written = [str(path) for path in (out, html) if path is not None]
    emit_json({"written": written}) if as_json else say(f"wrote {' and '.join(written)}")


@app.command()
def make(
    kind: Annotated[str | None, typer.Argument(help="What, for example hex-screw; see --list.")] = None,
    size: Annotated[str | None, typer.Argument(help="For example M6x20; see --list.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="STEP file to write.")] = None,
    standard: Annotated[str | None, typer.Option(help="Another than the usual one, for example iso4033.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Cylinders in place of modelled threads.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List what can be made; with KIND, all its sizes.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a standard part as STEP: screws, nuts, washers, bearings, gears. Kept in a cache, so the second is quick."""
    from flawsmith.cli.output import emit_json, say
    from flawsmith.core.errors import ConfigError
    from flawsmith.core.files import write_atomic
    from flawsmith.part.standard import make_step

    if list_:
        _list(kind, standard, as_json)
        return
    if kind is None or size is None or out is None:
        raise ConfigError("wanted: flawsmith part make KIND SIZE --out FILE.step; --list shows what can be made")
    if out.suffix.lower() not in (".step", ".stp"):
        raise ConfigError(f"{out}: standard parts are written as STEP; give a name that ends in .step")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists: choose another name or add --overwrite")
    cached = make_step(kind, size, threaded=not plain, standard=standard)
    write_atomic(out, cached.read_bytes())
    emit_json({"out": str(out), "cached": str(cached)}) if as_json else say(f"wrote {out}")


def _read(
    file: Path,
    unit: str | None,
    tolerance_mm: float | None,
    file_mb: float,
    memory_mb: float,
    seconds: float,
    triangles: int,
) -> Part:
    from flawsmith.part.guard import Limits
    from flawsmith.part.read import read_part

    limits = Limits(file_mb, memory_mb, seconds, triangles)
    return read_part(file, unit=unit, tolerance_mm=tolerance_mm, limits=limits)


def _list(kind: str | None, standard: str | None, as_json: bool) -> None:
    from flawsmith.cli.output import emit_json, emit_table
    from flawsmith.part.standard import KINDS, sizes

    if kind is not None:
        known = sizes(kind, standard)
        emit_json({kind: known}) if as_json else typer.echo("\n".join(known or ["any: m<module>z<teeth>x<width>"]))
        return
    if as_json:
        emit_json({name: {"standards": k.standards, "example": k.example} for name, k in KINDS.items()})
        return
    rows = [(name, k.meaning, k.example, ", ".join(k.standards)) for name, k in KINDS.items()]
    emit_table("standard parts", ("kind", "is", "size, for example", "standards"), rows)


def _show(report: dict[str, Any]) -> None:
    from flawsmith.cli.output import emit_table

    volume = "unknown: no closed component" if report["volume_mm3"] is None else f"{report['volume_mm3']:.6g} mm³"
    rows = [
        ("source", report["source"]),
        ("size", " × ".join(f"{side:.5g}" for side in report["extent_mm"]) + " mm"),
        ("volume", volume),
        ("area", f"{report['area_mm2']:.6g} mm²"),
        ("triangles", f"{report['triangles']:,}"),
    ]
    emit_table(report["name"], ("", ""), rows)
    _show_tree(report)
    _show_poses(report["poses"])
    for finding in report["findings"]:
        typer.echo(f"{finding['severity']}: {finding['code']}: {finding['meaning']}\n  do: {finding['remedy']}")
        typer.echo("\n".join(f"    {where}" for where in finding["where"][:10]))
    errors = sum(finding["severity"] == "error" for finding in report["findings"])
    typer.echo(f"errors: {errors}, notes: {len(report['findings']) - errors}")


def _show_tree(report: dict[str, Any]) -> None:
    def lines(tree: dict[str, Any], depth: int) -> list[str]:
        told = []
        for name, child in tree.items():
            if isinstance(child, dict):
                told += ["  " * depth + name, *lines(child, depth + 1)]
            else:
                count = report["components"][child]["triangles"]
                told.append("  " * depth + f"{name}  ({count:,} triangles)")
        return told

    typer.echo("components")
    typer.echo("\n".join(lines(report["tree"], 1)) + "\n")


def _show_poses(poses: list[dict[str, Any]]) -> None:
    from flawsmith.cli.output import emit_table

    rows = []
    for number, pose in enumerate(poses, 1):
        down = [-value for value in pose["stage_from_part"][2][:3]]
        around = {0: "any turn", 1: "none"}.get(pose["symmetry"], f"{pose['symmetry']}-fold")
        rows.append((number, f"{pose['probability']:.1%}", pose["merged"], around, " ".join(f"{v:+.2f}" for v in down)))
    if rows:
        columns = ("pose", "probability", "alike, merged", "symmetry about the vertical", "part axis down")
        emit_table("stable poses", columns, rows)
