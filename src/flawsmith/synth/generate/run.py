"""`generate`: a scene file to a data set, however long it takes and however often it is interrupted."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml

from flawsmith import __version__
from flawsmith.core.errors import ConfigError, EnvironmentFault, FlawsmithError, GateError, nearest
from flawsmith.core.files import check_free
from flawsmith.dataset.manifest import Dataset, DatasetInfo
from flawsmith.synth.generate.farm import ray_site
from flawsmith.synth.generate.image import LABELS, Images, kinds_of
from flawsmith.synth.generate.job import Item, Job, Limits, Outcome
from flawsmith.synth.generate.local import LocalSite
from flawsmith.synth.generate.publish import QUARANTINE, publish, quarantine_file
from flawsmith.synth.generate.supervise import Site, supervise
from flawsmith.synth.generate.work import Work, open_work
from flawsmith.synth.render import RENDERERS
from flawsmith.synth.spec import load_spec, spec_hash

Engine = Literal["local", "ray"]
ENGINES: tuple[Engine, ...] = ("local", "ray")
_SPARE = 1.05  # of the estimated size must be free
_LOOK_EVERY = 100  # items, at the disk
_HOPELESS = 10  # items given up, and more than were made: the run ends


@dataclass(frozen=True)
class Plan:
    """Where the items are made, and what one may cost.

    address: of a Ray cluster; empty starts one on this machine
    threads: of each worker
    """

    workers: int = 1
    engine: Engine = "local"
    address: str = ""
    threads: int = 1
    limits: Limits = field(default_factory=Limits)


@dataclass
class Progress:
    """Where a run stands. `made` counts those of earlier runs too, `seconds` is of this one."""

    items: int
    images: int  # to an item
    made: int = 0
    begun_with: int = 0
    size: int = 0
    mistakes: int = 0  # errors that are the scene file's
    errors: dict[int, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def images_per_hour(self) -> float:
        return (self.made - self.begun_with) * self.images / max(self.seconds, 1e-9) * 3600

    @property
    def left_seconds(self) -> float:
        done = self.made - self.begun_with + len(self.errors)
        return self.seconds / max(done, 1) * (self.items - self.made - len(self.errors))

    @property
    def estimated_size(self) -> float:
        """Bytes of what is still to be made, from the mean of what this run made."""
        return self.size / max(self.made - self.begun_with, 1) * (self.items - self.made - len(self.errors))


@dataclass(frozen=True)
class Report:
    """What a run gave. `quarantined`: reasons by item."""

    dataset: Dataset
    images: int
    quarantined: dict[int, str]
    seconds: float
    images_per_hour: float


OnProgress = Callable[[Progress], None]


def generate(
    spec: Path,
    out: Path,
    count: int,
    *,
    seed: int = 0,
    renderer: str = "mitsuba",
    labels: Sequence[str] = (),
    only: Sequence[int] = (),
    overrides: Iterable[str] = (),
    plan: Plan | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress = lambda progress: None,
) -> Report:
    """Render `count` images of the scene file `spec` into the data set folder `out`; see `Images` for what each holds.

    The same spec and seed give the same bytes, for any number of workers and after any interruption.

    labels: of `LABELS`, written as 16-bit PNGs beside the images
    only:   numbers of images to make instead of the first `count`, each as it would be among all

    Raises `ConfigError` for a mistake in the spec or an unfinished run in the way, `EnvironmentFault` when the disk is
    or would be full (the run can be gone on with), `GateError` when not one image could be made. Items that fail for
    themselves are in `Report.quarantined`.
    """
    job = images_of(spec, seed, renderer, labels, overrides, (plan or Plan()).threads)
    check_free(out.resolve(), overwrite, "data set")
    numbers = sorted(set(only)) or range(count)
    items = sorted({n // _per_item(job) for n in numbers})
    asked = set(only)
    with open_work(out, _identity(job), resume, overwrite) as work:
        progress = _made(job, work, items, plan or Plan(), on_progress)
        made = [item for item in items if item not in progress.errors]
        if not made:
            raise _nothing(progress)
        dataset = publish(
            work,
            out,
            made,
            (lambda n: n in asked) if asked else (lambda n: n < count),
            DatasetInfo(name=out.name, classes=kinds_of(job.spec), sources=(f"{spec.name}, seed {seed}",)),
            _beside(job, progress),
            overwrite,
        )
    return Report(dataset, len(dataset), progress.errors, progress.seconds, progress.images_per_hour)


def images_of(
    spec: Path, seed: int, renderer: str, labels: Sequence[str] = (), overrides: Iterable[str] = (), threads: int = 1
) -> Images:
    """The job of a scene file. Raises `ConfigError` for an unknown renderer or label, or a mistake in the file."""
    if renderer not in RENDERERS:
        raise ConfigError(f"--renderer {renderer!r} is not known.{nearest(renderer, list(RENDERERS))}")
    for label in labels:
        if label not in LABELS:
            raise ConfigError(f"--labels {label!r} is not known.{nearest(label, list(LABELS))}")
    loaded = load_spec(spec, overrides)
    base = spec.resolve().parent
    return Images(loaded, base, seed, spec_hash(loaded, base), renderer, tuple(sorted(set(labels))), threads)


@dataclass(frozen=True)
class Trial:
    """One item, made to see what all would cost."""

    images: int
    seconds: float
    size: int


def trial(job: Images, plan: Plan) -> Trial:
    """Make the first item in a worker of its own and throw it away. Raises `ConfigError` or `GateError`: it fails."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = next(iter(supervise(LocalSite(job, Work(Path(folder)).save), [0], 1, plan.limits)))
    if outcome.error:
        raise (ConfigError if outcome.mistake else GateError)(f"the first image could not be made: {outcome.error}")
    return Trial(_per_item(job), outcome.seconds, outcome.size)


def _identity(job: Images) -> dict[str, object]:
    """What decides the bytes of an item."""
    return {
        "spec_hash": job.spec_hash,
        "seed": job.seed,
        "renderer": job.renderer,
        "labels": list(job.labels),
        "scale": job.scale,
        "version": __version__,
    }


def _per_item(job: Images) -> int:
    return 2 if job.spec.pairs else 1


def _made(job: Images, work: Work, items: Sequence[int], plan: Plan, on_progress: OnProgress) -> Progress:
    """Make what is missing. Items that were given up in an earlier run are tried again."""
    missing = [item for item in items if work.row(item) is None]
    progress = Progress(len(items), _per_item(job), len(items) - len(missing), len(items) - len(missing))
    on_progress(progress)
    if not missing:
        return progress
    workers = min(plan.workers, len(missing))
    with site_of(plan, job, work.save) as site:
        for outcome in supervise(site, missing, workers, plan.limits):
            _count(progress, outcome)
            on_progress(progress)
            if (progress.made - progress.begun_with) % _LOOK_EVERY == 1:
                _check_disk(work.root, progress)
            if len(progress.errors) >= _HOPELESS and len(progress.errors) > progress.made:
                raise _nothing(progress)
    return progress


@contextmanager
def site_of(plan: Plan, job: Job, save: Callable[[Item], int]) -> Iterator[Site]:
    """Where the workers of a plan run."""
    if plan.engine == "local":
        yield LocalSite(job, save)
    else:
        with ray_site(job, save, plan.workers, plan.limits, plan.address) as site:
            yield site


def _count(progress: Progress, outcome: Outcome) -> None:
    if outcome.error:
        progress.errors[outcome.index] = outcome.error
        progress.mistakes += outcome.mistake
        return
    progress.made += 1
    progress.size += outcome.size


def _check_disk(root: Path, progress: Progress) -> None:
    free = shutil.disk_usage(root).free
    needed = progress.estimated_size * _SPARE
    if needed > free:
        raise EnvironmentFault(
            f"{root.parent} has {free / 1e9:.2f} GB free, and {progress.items - progress.made} more items need about "
            f"{needed / 1e9:.2f} GB: free some space and run the same command with --resume, or lower --count"
        )


def _nothing(progress: Progress) -> FlawsmithError:
    """The scene file's own mistake, or what else kept most items from being made."""
    first = min(progress.errors)
    if progress.mistakes == len(progress.errors):
        return ConfigError(progress.errors[first])
    return GateError(
        f"{len(progress.errors)} of {len(progress.errors) + progress.made} items could not be made; the first, item "
        f"{first}: {progress.errors[first]}"
    )


def _beside(job: Images, progress: Progress) -> dict[str, bytes]:
    """The resolved spec, and the list of items given up where there are any."""
    resolved = yaml.safe_dump(job.spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True).encode()
    extra = {"scene.resolved.yaml": resolved}
    return extra | ({QUARANTINE: quarantine_file(progress.errors)} if progress.errors else {})
