"""`flawsmith dataset …`"""

import typer

app = typer.Typer(no_args_is_help=True, help="Import, check, split, view and export labelled photographs.")
