"""`flawsmith dataset split | check | info | view`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from flawsmith.dataset.check import CheckReport
    from flawsmith.dataset.findings import Finding
    from flawsmith.dataset.manifest import Dataset
    from flawsmith.dataset.split import SplitPlan, SplitRule
    from flawsmith.dataset.summary import Part, Summary

Folder = Annotated[Path, typer.Argument(help="Data set folder.", metavar="DATA")]
AsJson = Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs to `flawsmith dataset`."""
    app.command("split")(split)
    app.command("check")(check)
    app.command("info")(info)
    app.command("view")(view)


def split(
    data: Folder,
    group: Annotated[
        str,
        typer.Option(help="What must stay together: auto, none, or columns of part, lot, session, camera (a,b)."),
    ] = "auto",
    group_regex: Annotated[
        str | None, typer.Option(help=r"A pattern on the source file name, in place of --group; as 'kos(\d+)'.")
    ] = None,
    fractions: Annotated[str, typer.Option(help="Of the images, for train, val and test.")] = "0.6,0.2,0.2",
    seed: Seed = 0,
    keep_test: Annotated[bool, typer.Option("--keep-test", help="Leave the test split as it is.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the split; write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Split into train, val and test: by group, every class in proportion.

    Images of one part (lot, session) never come into two splits, nor do copies of one image.
    """
    from flawsmith.cli.output import say, track
    from flawsmith.dataset.duplicates import look_alikes
    from flawsmith.dataset.split import SplitRule, plan_split, save_split

    rule = SplitRule(group, group_regex, _fractions(fractions), seed, keep_test)
    dataset = _opened(data)
    plan = plan_split(dataset, rule, lambda: look_alikes(dataset, progress=lambda rows: track(rows, "comparing")))
    for remark in plan.remarks:
        say(f"note: {remark}")
    if not dry_run:
        save_split(dataset, plan)
    _show_split(dataset, rule, plan, written=not dry_run, as_json=as_json)


def check(
    data: Folder,
    near: Annotated[int, typer.Option(help="Bits of 64 in which near duplicates may differ, 0 to 8.")] = 4,
    no_pixels: Annotated[bool, typer.Option("--no-pixels", help="The manifest alone; no file is read.")] = False,
    limit: Annotated[int, typer.Option(help="Files listed for each finding; --json lists up to 1000.")] = 5,
    outliers: Annotated[
        bool, typer.Option("--outliers", help="Look for healthy images unlike the others; learns five times from them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look for what would spoil training or make figures too good. Exit code 1 when there are errors.

    Notes are for you to judge and leave the exit code at 0.
    """
    from dataclasses import replace

    from flawsmith.cli.output import emit_json, track
    from flawsmith.core.errors import ConfigError
    from flawsmith.dataset.check import check_dataset
    from flawsmith.dataset.summary import summarise

    dataset = _opened(data)
    if outliers and no_pixels:
        raise ConfigError("--outliers looks at pixels: leave out --no-pixels")
    report = check_dataset(dataset, near, not no_pixels, lambda rows: track(rows, "reading", total=len(dataset)))
    if outliers:
        report = replace(report, findings=(*report.findings, *_outliers(dataset)))
    summary = summarise(dataset)
    if as_json:
        emit_json({**report.as_json(), "summary": summary.as_json()})
    else:
        _show_summary(summary)
        _show_findings(report, limit)
    if report.errors:
        raise typer.Exit(1)


def info(data: Folder, as_json: AsJson = False) -> None:
    """What is in a data set, from its manifest."""
    from flawsmith.cli.output import emit_json
    from flawsmith.dataset.summary import summarise

    summary = summarise(_opened(data))
    emit_json(summary.as_json()) if as_json else _show_summary(summary)


def view(
    data: Folder,
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("contact-sheet.png"),
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    label: Annotated[str | None, typer.Option(help="Only images with this label.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only images with a defect of this kind.")] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="Images on the sheet.")] = 24,
    columns: Annotated[int, typer.Option(min=1, max=100, help="Images in a row.")] = 6,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Write a contact sheet: images with their defects outlined, healthy and defective ones mixed."""
    from flawsmith.cli.output import emit_json, say
    from flawsmith.core.files import write_atomic
    from flawsmith.core.image import encode_png
    from flawsmith.dataset.view import Choice, choose, contact_sheet

    chosen = choose(_opened(data), Choice(split, label, kind, count, seed))
    write_atomic(out, encode_png(contact_sheet(chosen, columns)))
    if as_json:
        emit_json({"out": str(out), "images": chosen.column("file_name")})
    else:
        say(f"{len(chosen)} images on {out}")


def _outliers(dataset: Dataset) -> Iterator[Finding]:
    from flawsmith.cli.output import track
    from flawsmith.dataset.findings import LISTED, Finding
    from flawsmith.model.anomaly.outliers import find_outliers

    steps = iter(track(range(dataset.column("healthy").count(True)), "comparing"))

    def step(done: int) -> None:
        next(steps, None)

    found = find_outliers(dataset, on_image=step)
    where = [f"{one.file_name}: at {','.join(map(str, one.box))}, {one.deviations:.0f} deviations" for one in found]
    if found:
        yield Finding("outlier", len(found), tuple(where[:LISTED]))


def _opened(data: Path) -> Dataset:
    import pyarrow as pa

    from flawsmith.dataset.manifest import Dataset

    # Arrow's own allocator keeps what it once had: 890 MB for a million rows, in place of 700.
    pa.set_memory_pool(pa.system_memory_pool())
    return Dataset.open(data)


def _fractions(text: str) -> tuple[float, float, float]:
    from flawsmith.core.errors import ConfigError

    try:
        train, val, test = (float(part) for part in text.replace("/", ",").split(","))
    except ValueError:
        raise ConfigError(f"--fractions {text!r}: wanted three numbers, for example 0.6,0.2,0.2") from None
    return train, val, test


def _show_split(dataset: Dataset, rule: SplitRule, plan: SplitPlan, written: bool, as_json: bool) -> None:
    from dataclasses import asdict

    from flawsmith.cli.output import emit_json
    from flawsmith.dataset.split import with_splits
    from flawsmith.dataset.summary import by_split

    parts = by_split(with_splits(dataset, plan).table, plan.grouping.numbers)
    if as_json:
        emit_json(
            {
                "data": str(dataset.root),
                "written": written,
                "grouped_by": plan.grouping.name,
                "groups": plan.grouping.count,
                "fractions": rule.fractions,
                "seed": rule.seed,
                "remarks": plan.remarks,
                "splits": {name: asdict(part) for name, part in parts.items()},
            }
        )
        return
    title = f"{dataset.info.name}: {len(dataset)} images in {plan.grouping.count} groups by {plan.grouping.name}"
    _show_parts(title if written else f"{title} (nothing written)", parts)


def _show_parts(title: str, parts: dict[str, Part], total: Part | None = None) -> None:
    from flawsmith.cli.output import emit_table

    columns = {**parts, **({"all": total} if total else {})}
    rows: list[list[Any]] = [["images", *(part.images for part in columns.values())]]
    if all(part.groups is not None for part in columns.values()):
        rows.append(["groups", *(part.groups for part in columns.values())])
    for name in _names(part.labels for part in columns.values()):
        rows.append([f"images labelled {name}", *(part.labels.get(name, 0) for part in columns.values())])
    rows.append(["defects", *(part.defects for part in columns.values())])
    for name in _names(part.kinds for part in columns.values()):
        rows.append([f"defects of {name}", *(part.kinds.get(name, 0) for part in columns.values())])
    emit_table(title, ["", *columns], rows)


def _names(counts: Iterator[dict[str, int]]) -> list[str]:
    return sorted({name for count in counts for name in count})


def _show_summary(summary: Summary) -> None:
    from flawsmith.cli.output import emit_table
    from flawsmith.dataset.summary import size_names

    _show_parts(f"{summary.name}: {summary.images} images", summary.splits, summary.total)
    if summary.defect_sizes:
        rows = [[kind, *(sizes[name] for name in size_names())] for kind, sizes in summary.defect_sizes.items()]
        emit_table("defects by area", ["kind", *size_names()], rows)
    emit_table("images by", ["", "count"], list(_image_rows(summary)))


def _image_rows(summary: Summary, most: int = 8) -> Iterator[tuple[str, Any]]:
    for size, count in list(summary.image_sizes.items())[:most]:
        yield f"size {size}", count
    if len(summary.image_sizes) > most:
        rest = list(summary.image_sizes.values())[most:]
        yield f"{len(rest)} other sizes", sum(rest)
    for word, counts in (
        ("bits a channel", summary.bit_depths),
        ("channels", summary.channels),
        ("origin", summary.provenance),
        ("pixel size in mm", summary.pixel_mm),
    ):
        yield from ((f"{word} {value}", count) for value, count in counts.items())
    yield from ((f"groups by {name}", count) for name, count in summary.groups.items())
    yield "licence", summary.licence
    yield "content hash", summary.content_hash[:16]


def _show_findings(report: CheckReport, limit: int) -> None:
    for finding in report.findings:
        typer.echo("\n".join(_lines(finding, limit)))
    notes = len(report.findings) - report.errors
    read = "every file was read" if report.pixels else "the manifest alone was read"
    typer.echo(f"errors: {report.errors}, notes: {notes}; {read}")


def _lines(finding: Finding, limit: int) -> Iterator[str]:
    yield f"{finding.severity}: {finding.code} ({finding.count}): {finding.meaning}"
    yield f"  do: {finding.remedy}"
    yield from (f"    {where}" for where in finding.where[: max(limit, 0)])
    if finding.count > limit:
        yield f"    … and {finding.count - max(limit, 0)} more"
    yield ""
