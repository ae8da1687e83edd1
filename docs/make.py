"""Write what is generated: docs/cli.md, docs/schemas, the README's measured tables. `--check` only compares."""

import json
import subprocess
import sys
from pathlib import Path

import typer
from typer.core import TyperGroup

from flawsmith.cli import app
from flawsmith.core.spec import ModelSpec
from flawsmith.dataset.manifest import DatasetInfo
from flawsmith.decide.rules import Decision
from flawsmith.line.recipe import RecipeInfo
from flawsmith.model.classify import ClassifySettings
from flawsmith.model.distil import DistilSettings
from flawsmith.model.orientation import OrientationSettings
from flawsmith.model.segment import SegmentSettings
from flawsmith.model.wear.learn import WearTrainSettings
from flawsmith.synth.spec import SceneSpec

DOCS = Path(__file__).parent
SCHEMAS = {
    "scene": SceneSpec,
    "segment": SegmentSettings,
    "classify": ClassifySettings,
    "distil": DistilSettings,
    "orientation": OrientationSettings,
    "wear": WearTrainSettings,
    "dataset": DatasetInfo,
    "decision": Decision,
    "recipe": RecipeInfo,
    "model-spec": ModelSpec,
}


def cli_reference() -> str:
    """Every command with its help, as the program prints it."""
    pages = ["# Commands\n\nMade by `make docs` from the program itself.\n"]
    for path in commands(typer.main.get_command(app), ["flawsmith"]):
        text = subprocess.run(
            [*path, "--help"], capture_output=True, text=True, check=True, env={"COLUMNS": "100", **_environment()}
        ).stdout
        pages.append(f"## {' '.join(path)}\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(pages)


def commands(command: object, path: list[str]) -> list[list[str]]:
    """Paths of all commands below this one, groups left out."""
    if not isinstance(command, TyperGroup):
        return [path]
    return [found for name in command.commands for found in commands(command.commands[name], [*path, name])]


def _environment() -> dict[str, str]:
    import os

    return {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TERM": "dumb"}


def main() -> None:
    wanted = {DOCS / "cli.md": cli_reference()}
    for name, model in SCHEMAS.items():
        schema = json.dumps(model.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
        wanted[DOCS / "schemas" / f"{name}.schema.json"] = schema
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    tables = [sys.executable, str(DOCS.parent / "benchmarks" / "table.py")]
    if "--check" in sys.argv:
        subprocess.run([*tables, "--check"], check=True, stdout=subprocess.DEVNULL)
        if stale:
            sys.exit(f"stale: {', '.join(str(p.relative_to(DOCS.parent)) for p in stale)}; run: make docs")
        return
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
        sys.stderr.write(f"wrote {path.relative_to(DOCS.parent)}\n")
    subprocess.run(tables, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
