"""Verbs."""

import typer


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs to the command line."""
