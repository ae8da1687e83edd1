"""How commands speak: data on stdout, the rest on stderr, progress bars on a terminal only."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from flawsmith.model.train import Progress

T = TypeVar("T")


def complain(message: str) -> None:
    """One line on stderr."""
    typer.echo(f"flawsmith: {message}", err=True)


def say(message: str) -> None:
    """A remark for people, on stderr."""
    typer.echo(message, err=True)


def emit_json(value: Any) -> None:
    """The one JSON document of a command, on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def emit_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A readable table on stdout; plain text when stdout is no terminal."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=SIMPLE, title_justify="left")
    cells = [[str(cell) for cell in row] for row in rows]
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if _numeric(cells, index) else "left", no_wrap=index == 0)
    for row in cells:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _numeric(cells: Sequence[Sequence[str]], column: int) -> bool:
    """Whether every filled cell of a column begins like a number."""
    filled = [row[column] for row in cells if row[column]]
    return bool(filled) and all(cell.lstrip("-")[:1].isdigit() for cell in filled)


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a progress bar and ETA on stderr; silent when stderr is no terminal."""
    from rich.console import Console
    from rich.progress import track as rich_track

    console = Console(stderr=True)
    yield from rich_track(items, what, total=total, console=console, disable=not console.is_terminal, transient=True)


@contextmanager
def training_bar() -> "Iterator[Callable[[Progress], None]]":
    """A bar with loss, validation score and ETA on a terminal; a plain line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"))
    with Bar(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=None, figures="")

        def on_step(now: "Progress") -> None:
            score = "-" if now.score is None else f"{now.score:.3f}"
            figures = f"loss {now.loss:.3f}  {now.measure} {score}"
            bar.update(task, completed=now.step, total=now.steps, figures=figures)
            if not console.is_terminal and now.step % 100 == 0:
                say(f"step {now.step}/{now.steps}  {figures}")

        yield on_step
