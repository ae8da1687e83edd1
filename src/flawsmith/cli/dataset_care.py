"""`flawsmith dataset split | check | info | view`."""

import typer


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs to `flawsmith dataset`."""
