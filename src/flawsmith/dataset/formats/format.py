"""What a format is: how it is recognised, read and written."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from flawsmith.core.errors import DataError
from flawsmith.core.sample import Sample

# Class folders and labels that mean "nothing wrong here", compared without regard to case.
HEALTHY = ("good", "ok", "ok_front", "free", "MT_Free", "normal", "healthy", "no_defect", "pass")


def _refuse(where: str, error: DataError) -> None:
    raise error


def _forget(what: str, where: str) -> None:
    """Nobody asked for remarks."""


@dataclass(frozen=True)
class ReadOptions:
    """How to read a folder that someone else made.

    healthy:       names that mean "no defect", in place of `HEALTHY`
    kind:          name for defects where the source gives none
    number_block:  `masks` only: how many consecutively numbered images share a group
    number_period: `masks` only: numbers this far apart show the same thing again; 0: they do not
    own_notes:     also read what flawsmith's own exports carry beside the format; False: read as other programs do
    reject:        called with (path, error) for an image that cannot be used; raises, or returns to leave it out
    note:          called with (remark, path) for what a person should know
    """

    healthy: tuple[str, ...] = HEALTHY
    kind: str = "defect"
    number_block: int = 20
    number_period: int = 0
    own_notes: bool = True
    reject: Callable[[str, DataError], None] = _refuse
    note: Callable[[str, str], None] = _forget

    def is_healthy(self, name: str) -> bool:
        return name.casefold() in self._healthy_folded

    @cached_property
    def _healthy_folded(self) -> frozenset[str]:
        return frozenset(name.casefold() for name in self.healthy)


@dataclass(frozen=True)
class Target:
    """Where an export goes.

    kinds: defect kinds, in the order of the data set's classes
    stems: sample id to a file stem that is unique in one flat folder
    split: whether any image has a split
    """

    out: Path
    kinds: tuple[str, ...]
    stems: dict[str, str]
    split: bool


@dataclass(frozen=True)
class Format:
    """One way of laying out labelled images.

    holds:      what the format can say, in one line
    recognise:  None when the folder fits, else one line why it does not
    read:       the samples, one at a time; pixels stay on disk
    write:      samples out; returns each id's image path inside the target
    loses:      what `write` cannot keep, in one line; empty: nothing but groups, seed and provenance
    own_notes:  `write` adds notes of ours that other programs do not read
    yields_to:  formats whose fit makes this one's meaningless, because it is more general
    """

    holds: str
    recognise: Callable[[Path], str | None]
    read: Callable[[Path, ReadOptions], Iterator[Sample]]
    write: Callable[[Iterable[Sample], Target], dict[str, str]] | None = None
    loses: str = ""
    own_notes: bool = False
    yields_to: tuple[str, ...] = ()
