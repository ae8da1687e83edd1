"""A job of bytes in place of images, with workers that die on order."""

import ctypes
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flawsmith.core.errors import DataError
from flawsmith.synth.generate.job import Item, Make


@dataclass(frozen=True)
class Dice:
    """Item i is 1,000 bytes of (seed, i). `accident` befalls item 3; with `once` a folder, the first time only."""

    seed: int = 0
    accident: str = ""
    once: Path | None = None
    seconds: float = 0.0

    def open(self) -> Make:
        return self.throw

    def throw(self, index: int) -> Item:
        time.sleep(self.seconds)
        if index == 3 and self.accident and not self._happened():
            ACCIDENTS[self.accident]()
        data = np.random.default_rng([self.seed, index]).bytes(1000)
        return Item(index, {f"images/{index:06d}.png": data}, {"index": index})

    def _happened(self) -> bool:
        if self.once is None:
            return False
        mark = self.once / "happened"
        there = mark.exists()
        mark.touch()
        return there


def segfault() -> None:
    ctypes.string_at(0)


def hang() -> None:
    time.sleep(1000)


def eat_memory() -> None:
    held = []
    while True:
        held.append(np.ones(4_000_000))  # 32 MB, touched
        time.sleep(0.005)


def leave() -> None:
    os._exit(7)


def refuse() -> None:
    raise DataError("no view shows a defect")


def stumble() -> None:
    raise ZeroDivisionError("a bug")


ACCIDENTS = {f.__name__: f for f in (segfault, hang, eat_memory, leave, refuse, stumble)}
