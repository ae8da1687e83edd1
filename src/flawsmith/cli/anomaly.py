"""`flawsmith train anomaly`."""

from pathlib import Path

import typer


def anomaly(
    dataset: Path = typer.Argument(help="Data set folder with splits (see: flawsmith dataset split)."),
    out: Path = typer.Option(..., "--out", help="Run folder: model, a decision to begin with, settings."),
    method: str | None = typer.Option(None, "--method", help="memory, gaussian or dcgan: short for --set method=…"),
    config: Path | None = typer.Option(None, "--config", help="YAML settings; see docs/model.md."),
    overrides: list[str] = typer.Option([], "--set", help="Override a setting, e.g. memory.rows=4000."),
    size: int | None = typer.Option(None, "--size", min=32, help="Longest side that the network sees, in pixels."),
    max_ram: int | None = typer.Option(None, "--max-ram", min=16, help="Megabytes for spots while learning."),
    base: Path | None = typer.Option(
        None, "--from", help="Run of method memory: take in the healthy images that it does not know."
    ),
    remove: list[str] = typer.Option([], "--remove", help="With --from: id of an image to forget; repeat."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Throw away what is in --out and start anew."),
    as_json: bool = typer.Option(False, "--json", help="Report as JSON on stdout."),
) -> None:
    """Learn from healthy images alone what a part looks like; defective ones are left out."""
    from flawsmith import pipeline
    from flawsmith.cli.output import emit_json, say
    from flawsmith.core.config import load_settings
    from flawsmith.core.errors import ConfigError
    from flawsmith.model.anomaly import AnomalySettings

    short = {"method": method, "size": size, "max_ram_mb": max_ram}
    chosen = [f"{key}={value}" for key, value in short.items() if value is not None]
    if base is None and remove:
        raise ConfigError("--remove takes images out of a run: name it with --from")
    train, val = pipeline.training_data(dataset)
    defective = train.column("healthy").count(False)
    if base is not None and (config or overrides or chosen):
        raise ConfigError("--from goes on with that run's own settings: leave --config, --set and the others out")
    settings = None if base else load_settings(AnomalySettings, config, [*overrides, *chosen])
    model = pipeline.train_anomaly(dataset, out, settings, overwrite, base, remove)
    report = {
        "run": str(out),
        "method": model.settings.method,
        "healthy": len(model.images_),
        "defective_left_out": defective,
        "rows": model.rows,
        "scale": model.spec.scale,
        "unit": model.unit_,
    }
    if as_json:
        emit_json(report)
    if defective:
        say(f"note: {defective} defective images of the train split were left out")
    if not val or not any(val.column("healthy")):
        say("note: no healthy image in the val split, so thresholds cannot be calibrated: see flawsmith dataset split")
    say(
        f"{out}: {report['healthy']} healthy images by {report['method']}; 0.5 is what 95 % of healthy parts stay below"
    )
    say(f"next: flawsmith evaluate {out} {dataset}")
