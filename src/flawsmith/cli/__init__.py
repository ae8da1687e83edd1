"""The command line: one verb per step of the path. Heavy imports happen inside the commands, never here."""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from flawsmith import __version__
from flawsmith.cli import dataset, demo, deploy, doctor, evaluate, generate, part, run, train

PATH = ("demo", "part", "generate", "dataset", "train", "evaluate", "calibrate", "export", "inspect", "doctor")


class InPathOrder(TyperGroup):
    """Lists the verbs in the order of the path."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=PATH.index)


app = typer.Typer(
    cls=InPathOrder,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="From a CAD file or ten photographs to a certified inspection station.",
    epilog="Exit codes: 0 done, 1 a finding or a gate failed, 2 usage or configuration, 3 environment.",
)
demo.add_to(app)
app.add_typer(part.app, name="part")
generate.add_to(app)
app.add_typer(dataset.app, name="dataset")
app.add_typer(train.app, name="train")
evaluate.add_to(app)
deploy.add_to(app)
run.add_to(app)
doctor.add_to(app)


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and end.")) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point. A user's own mistake ends in one line on stderr and the designed exit code, never a traceback."""
    from flawsmith.cli.output import complain

    try:
        app()
    except KeyboardInterrupt:
        complain("stopped by the user")
        sys.exit(130)
    except MemoryError:
        complain("out of memory: use smaller images, a smaller batch or a machine with more memory")
        sys.exit(3)
    except ModuleNotFoundError as error:
        if (error.name or "flawsmith").startswith("flawsmith"):
            raise
        complain(f"{error.name} is not installed; this command needs: pip install 'flawsmith[train]'")
        sys.exit(3)
    except Exception as error:
        from flawsmith.core.errors import FlawsmithError  # brings numpy and OpenCV, so not before it is needed

        if not isinstance(error, FlawsmithError):
            raise
        complain(str(error))
        sys.exit(error.exit_code)
