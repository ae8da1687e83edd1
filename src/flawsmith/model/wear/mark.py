"""How a wear run is known without loading anything: the station asks too, and has no torch."""

from pathlib import Path

RUN = "wear_run.json"


def holds_wear(folder: Path) -> bool:
    """Whether the folder is a run of `train wear`."""
    return (folder / RUN).is_file()
