"""`flawsmith generate`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from flawsmith.synth.generate import Images, Plan, Progress, Report

_LINE_SECONDS = 30.0  # between plain lines where there is no terminal


def add_to(app: typer.Typer) -> None:
    """Add this module's verb to the command line."""
    app.command()(generate)


def generate(
    scene: Path = typer.Argument(help="Scene file (scene.yaml)."),
    out: Path = typer.Option(..., "--out", help="Data set folder to write; new or empty. With --preview, a PNG."),
    count: int = typer.Option(100, "--count", min=1, help="How many images."),
    seed: int = typer.Option(0, "--seed", min=0, help="Another seed, other images; the same, the same bytes."),
    workers: int = typer.Option(1, "--workers", min=1, help="Processes that render side by side."),
    threads: int = typer.Option(1, "--threads", min=1, help="Processor cores of each worker."),
    renderer: str = typer.Option("mitsuba", "--renderer", help="mitsuba, cycles, or relief for flat sheets."),
    labels: str = typer.Option("", "--labels", help="Further labels as PNGs: depth,normal,instance."),
    only: list[int] = typer.Option([], "--only", min=0, help="Make this image alone, as among all. Repeatable."),
    overrides: list[str] = typer.Option([], "--set", help="Override a value of the scene file, e.g. healthy=0.5."),
    resume: bool = typer.Option(False, "--resume", help="Go on with an interrupted run into --out."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace --out, and give up an unfinished run into it."),
    preview: bool = typer.Option(False, "--preview", help="A contact sheet of 12 images, small and quick."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Make one image, say what all would cost; write nothing."),
    engine: str = typer.Option("local", "--engine", help="local, or ray for a cluster."),
    address: str = typer.Option("", "--address", help="Ray cluster [default: one on this machine]."),
    item_seconds: float = typer.Option(600.0, "--item-seconds", min=1, help="Longest that one item may take."),
    memory_gb: float = typer.Option(8.0, "--memory-gb", min=0.1, help="Most memory of one worker."),
    as_json: bool = typer.Option(False, "--json", help="Report as JSON on stdout."),
) -> None:
    """Render a scene file into labelled images: a data set folder.

    An interrupted run is gone on with by the same command and --resume. Ends with 1 when some images could not be made;
    the others are kept, and quarantine.json lists those.
    """
    from flawsmith.core.errors import ConfigError, nearest
    from flawsmith.synth import generate as synth

    if engine not in synth.ENGINES:
        raise ConfigError(f"--engine {engine!r} is not known.{nearest(engine, list(synth.ENGINES))}")
    if resume and overwrite:
        raise ConfigError("--resume keeps what is there and --overwrite gives it up: choose one")
    limits = synth.Limits(item_seconds=item_seconds, memory_mb=memory_gb * 1024)
    plan = synth.Plan(workers, engine, address, threads, limits)
    wanted = tuple(name for name in labels.replace(" ", "").split(",") if name)
    if preview or dry_run:
        job = synth.images_of(scene, seed, renderer, wanted, overrides, threads)
        _preview(job, plan, out, as_json) if preview else _estimate(job, plan, len(only) or count, as_json)
        return
    with rendering_bar() as on_progress:
        report = synth.generate(
            scene,
            out,
            count,
            seed=seed,
            renderer=renderer,
            labels=wanted,
            only=only,
            overrides=overrides,
            plan=plan,
            resume=resume,
            overwrite=overwrite,
            on_progress=on_progress,
        )
    _tell(report, as_json)


def _preview(job: "Images", plan: "Plan", out: Path, as_json: bool) -> None:
    from flawsmith.cli.output import emit_json, say
    from flawsmith.core.files import write_atomic
    from flawsmith.core.image import encode_png
    from flawsmith.synth.generate.preview import preview

    path = out if out.suffix.lower() == ".png" else out.with_name(f"{out.name}.preview.png")
    write_atomic(path, encode_png(preview(job, plan)))
    emit_json({"preview": str(path)}) if as_json else say(f"{path}")


def _estimate(job: "Images", plan: "Plan", count: int, as_json: bool) -> None:
    from flawsmith.cli.output import emit_json, emit_table
    from flawsmith.synth.generate import trial

    one = trial(job, plan)
    items = -(-count // one.images)
    seconds, size = items * one.seconds / plan.workers, items * one.size
    if as_json:
        emit_json({"images": items * one.images, "seconds": seconds, "bytes": size, "spec_hash": job.spec_hash})
        return
    rows = [
        ("images", items * one.images),
        ("renderer", job.renderer),
        ("an image takes", f"{one.seconds / one.images:.2f} s and {one.size / one.images / 1e3:.0f} kB"),
        ("all take about", f"{_duration(seconds)} with {plan.workers} workers"),
        ("all need about", f"{size / 1e9:.3f} GB of disk"),
    ]
    emit_table("dry run", ("", "nothing is written"), rows)


def _tell(report: "Report", as_json: bool) -> None:
    from flawsmith.cli.output import emit_json, say

    root = report.dataset.root
    if as_json:
        emit_json(
            {
                "dataset": str(root),
                "images": report.images,
                "classes": list(report.dataset.classes),
                "content_hash": report.dataset.info.content_hash,
                "quarantined": {str(item): reason for item, reason in sorted(report.quarantined.items())},
                "seconds": report.seconds,
                "images_per_hour": report.images_per_hour,
            }
        )
    for item, reason in sorted(report.quarantined.items()):
        say(f"item {item} was given up: {reason}")
    say(f"{root}: {report.images} images in {_duration(report.seconds)} ({report.images_per_hour:,.0f} an hour)")
    say(f"next: flawsmith dataset view {root} --out sheet.png")
    if report.quarantined:
        say(f"{len(report.quarantined)} items could not be made; they are listed in {root}/quarantine.json")
        raise typer.Exit(1)


@contextmanager
def rendering_bar() -> "Iterator[Callable[[Progress], None]]":
    """A bar with images an hour and the time left on a terminal; elsewhere a line every half minute."""
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    from flawsmith.cli.output import say

    console = Console(stderr=True)
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    last = time.monotonic()
    with Bar(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("rendering", total=None, told="")

        def on_progress(now: "Progress") -> None:
            nonlocal last
            begun = now.made > now.begun_with
            told = f"{now.images_per_hour:,.0f} images/h  {_duration(now.left_seconds)} left" if begun else "starting"
            if begun:
                told += f"  {now.estimated_size / 1e9:.2f} GB to come"
            told += f"  {len(now.errors)} given up" if now.errors else ""
            bar.update(task, completed=now.made + len(now.errors), total=now.items, told=told)
            if not console.is_terminal and time.monotonic() - last > _LINE_SECONDS:
                last = time.monotonic()
                say(f"{now.made}/{now.items}  {told}")

        yield on_progress


def _duration(seconds: float) -> str:
    """7 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
