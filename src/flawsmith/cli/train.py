"""`flawsmith train …`"""

import typer

app = typer.Typer(no_args_is_help=True, help="Train a model on a data set.")
