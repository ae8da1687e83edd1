"""`flawsmith dataset …`: import and export. The verbs of care (split, check, info, view) are in `dataset_care`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flawsmith.cli import dataset_care

if TYPE_CHECKING:
    from flawsmith.dataset.convert import ExportReport, ImportReport
    from flawsmith.dataset.formats.loss import Loss

app = typer.Typer(no_args_is_help=True, help="Import, check, split, view and export labelled photographs.")

_READ = (
    "auto, or one of: dagm, mvtec, kolektor, magnetic-tile, neu, voc, voc-mask, coco, yolo, labelme, labelstudio, "
    "imagefolder, deeppcb, masks"
)
_WRITTEN = "one of: mvtec, coco, yolo (polygons), yolo-det (boxes), voc-mask, imagefolder"

Out = Annotated[Path, typer.Option("--out", help="Folder to write; new or empty.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output folder when it is complete.")]
AsJson = Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")]


@app.command("import")
def import_(
    src: Annotated[Path, typer.Argument(help="Folder of images and labels.")],
    out: Annotated[Path | None, typer.Option("--out", help="Data set folder to write; new or empty.")] = None,
    format: Annotated[str, typer.Option("--format", help=_READ)] = "auto",
    name: Annotated[str | None, typer.Option(help="Name of the data set; default: the folder's.")] = None,
    kind: Annotated[str, typer.Option(help="Name for defects where the source gives none.")] = "defect",
    healthy: Annotated[
        list[str] | None,
        typer.Option(help="Class name that means 'no defect', in place of the usual ones. Repeatable."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Regular expression on the path, with groups named part, lot, session or camera."),
    ] = None,
    pixel_mm: Annotated[float | None, typer.Option(help="Edge of a pixel on the part, in mm.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the images, for the record.")] = None,
    min_area: Annotated[int, typer.Option(help="Leave out masked regions of fewer pixels (specks in masks).")] = 0,
    number_block: Annotated[int, typer.Option(help="masks: consecutive numbers that share a group.")] = 20,
    number_period: Annotated[int, typer.Option(help="masks: numbers this far apart show the same again; 0: no.")] = 0,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out and list what cannot be read.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be imported; write nothing.")] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Bring labelled images of a known layout into a data set folder."""
    from flawsmith.cli.output import emit_json, track
    from flawsmith.core.errors import ConfigError
    from flawsmith.dataset.convert import import_dataset

    if out is None and not dry_run:
        raise ConfigError("--out is missing: give the folder to write, or --dry-run to write nothing")
    report = import_dataset(
        src,
        None if dry_run else out,
        format,
        name=name,
        kind=kind,
        healthy_labels=healthy or (),
        group=group,
        pixel_mm=pixel_mm,
        licence=licence,
        min_area_px=min_area,
        number_block=number_block,
        number_period=number_period,
        overwrite=overwrite,
        on_bad="skip" if skip_bad else "fail",
        progress=lambda samples: track(samples, "importing"),
    )
    _remark(report)
    emit_json(report.as_json()) if as_json else _show_import(report)


def _remark(report: ImportReport) -> None:
    from flawsmith.cli.output import say

    for note in report.notes:
        say(f"note: {note.what} ({note.count} x, first: {note.first})")
    for image in report.left_out:
        say(f"left out: {image.reason}")
    if report.left_out:
        say(f"{len(report.left_out)} images left out")
    if not report.healthy:
        say("note: no healthy image: false alarms can be neither trained against nor measured")
    if report.unmarked:
        say(f"note: {report.unmarked} defective images have no marked region: they count at image level only")


def _show_import(report: ImportReport) -> None:
    from flawsmith.cli.output import emit_table

    rows: list[tuple[str, object]] = [("format", report.format), ("written to", report.out or "nothing (dry run)")]
    rows += [("images", report.images), ("healthy images", report.healthy)]
    rows += [(f"images of class {name}", count) for name, count in report.labels.items() if name != "good"]
    rows += [(f"defects of kind {name}", count) for name, count in report.kinds.items()]
    rows += [(f"images in split {name}", count) for name, count in report.splits.items()]
    rows += [(f"groups by {key}", count) for key, count in report.groups.items()]
    emit_table("import", ("", report.source), rows)


@app.command()
def export(
    dataset: Annotated[Path, typer.Argument(help="Data set folder.")],
    format: Annotated[str, typer.Option("--format", help=_WRITTEN)],
    out: Out,
    split: Annotated[str | None, typer.Option(help="Only this split: train, val or test.")] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a data set in the layout of another program, read it back and say what was lost."""
    from flawsmith.cli.output import emit_json, track
    from flawsmith.dataset.convert import export_dataset
    from flawsmith.dataset.manifest import Dataset

    opened = Dataset.open(dataset)
    chosen = opened.split(split) if split else opened
    report = export_dataset(
        chosen,
        out,
        format,
        overwrite=overwrite,
        progress=lambda samples: track(samples, "exporting", len(chosen)),
    )
    _warn(report)
    emit_json(report.as_json()) if as_json else _show_export(report)


def _warn(report: ExportReport) -> None:
    from flawsmith.cli.output import say

    if not report.loss.none:
        say(f"warning: {report.format} does not hold all of it. {_sentence(report.loss)}")
    if report.elsewhere != report.loss:
        say(f"warning: programs that know nothing of flawsmith lose more. {_sentence(report.elsewhere)}")
    if report.loses and (report.loss.affected or report.elsewhere.affected):
        say(f"{report.format} loses: {report.loses}")


def _sentence(loss: Loss) -> str:
    """What was lost, in words; only what was."""
    parts = []
    if loss.affected:
        parts.append(
            f"IoU lost: mean {loss.iou_lost_mean:.4f}, worst {1 - loss.iou_min:.4f}; "
            f"{loss.affected} of {loss.defects} defects affected, {loss.gone} gone"
        )
    counts = (
        (loss.added, "regions that were not there"),
        (loss.unhealthy_as_healthy, "defective images that read as healthy"),
        (loss.healthy_as_unhealthy, "healthy images that read as defective"),
        (loss.relabelled, "images of another class"),
        (loss.missing, "images gone"),
    )
    return "; ".join(parts + [f"{count} {what}" for count, what in counts if count])


def _show_export(report: ExportReport) -> None:
    from flawsmith.cli.output import emit_table

    loss = report.loss
    rows = [
        ("format", report.format),
        ("written to", report.out),
        ("images", report.images),
        ("defects", loss.defects),
        ("defects affected", loss.affected),
        ("IoU lost, mean", f"{loss.iou_lost_mean:.4f}"),
        ("IoU lost, worst", f"{1 - loss.iou_min:.4f}"),
    ]
    emit_table("export", ("", report.dataset), rows)


@app.command()
def join(
    datasets: Annotated[list[Path], typer.Argument(help="Data set folders, two or more.")],
    out: Out,
    label: Annotated[str, typer.Option(help="keep, or folder: call the images of each set after its folder.")] = "keep",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Put several data sets into one, as photographs and renders of the same parts; provenance tells them apart."""
    from flawsmith.cli.output import emit_json, emit_table, say
    from flawsmith.core.errors import ConfigError, nearest
    from flawsmith.dataset.join import join_datasets

    if label not in ("keep", "folder"):
        raise ConfigError(f"--label {label!r} is not known.{nearest(label, ['keep', 'folder'])}")
    report = join_datasets(datasets, out, "folder" if label == "folder" else "keep", overwrite)
    if report.twice:
        say(f"note: {report.twice} images are there twice; see: flawsmith dataset check {out}")
    rows: list[tuple[str, object]] = [("written to", report.out), ("images", report.images)]
    rows += [(f"images of class {name}", count) for name, count in report.labels.items()]
    rows += [(f"images with provenance {name}", count) for name, count in report.provenances.items()]
    emit_json(report.as_json()) if as_json else emit_table("join", ("", f"{len(datasets)} data sets"), rows)


dataset_care.add_to(app)
