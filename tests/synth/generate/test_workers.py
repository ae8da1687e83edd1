"""Workers that die cost their own item and nothing else."""

from pathlib import Path

import pytest
from dice import Dice

from flawsmith.core.errors import ConfigError, EnvironmentFault
from flawsmith.synth.generate.farm import ray_site
from flawsmith.synth.generate.job import Limits, Outcome
from flawsmith.synth.generate.local import LocalSite
from flawsmith.synth.generate.supervise import supervise
from flawsmith.synth.generate.work import Work

TIGHT = Limits(item_seconds=1.5, memory_mb=600, strikes=2)


def run(job: Dice, root: Path, count: int = 6, workers: int = 2, limits: Limits = TIGHT) -> dict[int, Outcome]:
    site = LocalSite(job, Work(root).save)
    outcomes = list(supervise(site, range(count), workers, limits))
    assert sorted(o.index for o in outcomes) == list(range(count))
    return {o.index: o for o in outcomes}


@pytest.mark.parametrize(
    ("accident", "words"),
    [
        ("segfault", "SIGSEGV (2 tries)"),
        ("hang", "longer than 1.5 s (2 tries)"),
        ("eat_memory", "more than 600 (2 tries)"),
        ("leave", "code 7 (2 tries)"),
        ("refuse", "no view shows a defect"),
        ("stumble", "ZeroDivisionError at dice.py"),
    ],
)
def test_an_accident_costs_one_item(accident: str, words: str, tmp_path: Path) -> None:
    outcomes = run(Dice(accident=accident), tmp_path)
    assert words in outcomes[3].error
    work = Work(tmp_path)
    for index in (0, 1, 2, 4, 5):
        assert outcomes[index].error == ""
        assert outcomes[index].size > 1000
        assert work.row(index) == {"index": index}
    assert work.row(3) is None


def test_an_accident_that_happens_once_costs_nothing(tmp_path: Path) -> None:
    outcomes = run(Dice(accident="segfault", once=tmp_path), tmp_path)
    assert not any(o.error for o in outcomes.values())


def test_bytes_do_not_depend_on_the_workers(tmp_path: Path) -> None:
    for workers in (1, 3):
        run(Dice(seed=5), tmp_path / str(workers), workers=workers)
    for index in range(6):
        name = f"images/{index:06d}.png"
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


class Closed(Dice):
    """A job that cannot be opened."""

    def open(self):
        raise ConfigError("belt.png is missing")


class Deadly(Dice):
    def open(self):
        import os

        os._exit(9)


def test_a_job_that_cannot_be_opened_ends_the_run_with_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"belt\.png"):
        run(Closed(), tmp_path)
    with pytest.raises(EnvironmentFault, match=r"before their first image.*code 9"):
        run(Deadly(), tmp_path, workers=1)


@pytest.mark.slow
def test_ray_gives_the_same_bytes_and_survives_the_same_accidents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # Ray's workers import this folder's job too
    work, job = Work(tmp_path / "ray"), Dice(accident="segfault")
    with ray_site(job, work.save, 2, TIGHT) as site:
        outcomes = {o.index: o for o in supervise(site, range(6), 2, TIGHT)}
    assert "process ended" in outcomes[3].error
    run(Dice(), tmp_path / "local")
    for index in (0, 1, 2, 4, 5):
        name = f"images/{index:06d}.png"
        assert (work.root / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
