"""Several images of one part judged as one, as the line does it: by the worst view."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.core.sample import GROUPS, Sample
from flawsmith.evaluate.classes import ClassScore

Judged = tuple[Sample, ClassScore]


def together(pairs: Iterable[Judged], key: str, classes: Sequence[str], healthy: Sequence[str]) -> Iterator[Judged]:
    """One pair for each part: the images that share the group `key` (part, lot, session or camera).

    Where some classes are healthy and some are not, the view in which a fault is the most probable decides, as one view
    may show what the others cannot. Else the views are weighed alike: probabilities are multiplied and made to add up
    to 1. The part is unknown as far as its most unknown view is. It is labelled as its faulty views are.

    Raises `ConfigError` for another key, `DataError` for an image without one, and for views of two labels of which
    none is healthy.
    """
    if key not in GROUPS:
        raise ConfigError(f"--together {key!r}: wanted one of {', '.join(GROUPS)}")
    parts: dict[str, list[Judged]] = {}
    for sample, score in pairs:
        if key not in sample.groups:
            raise DataError(f"{sample.id} has no {key}, so nothing says which images belong together")
        parts.setdefault(sample.groups[key], []).append((replace(sample, defects=()), score))
    faulty = np.array([name not in healthy for name in classes])
    for name, views in parts.items():
        yield _one(name, views, faulty if 0 < faulty.sum() < len(classes) else None)


def _one(name: str, views: Sequence[Judged], faulty: np.ndarray | None) -> Judged:
    bad = sorted({sample.label for sample, _ in views if not sample.healthy})
    labels = bad or sorted({sample.label for sample, _ in views})
    if len(labels) > 1:
        raise DataError(f"the views of {name} are labelled {', '.join(labels)}: one part has one label")
    scores = [score for _, score in views]
    if faulty is None:
        logs = np.mean([np.log(np.maximum(score.probabilities, 1e-12)) for score in scores], axis=0)
        shares = np.exp(logs - logs.max())
        chosen, probabilities = 0, (shares / shares.sum()).astype(np.float32)
    else:
        chosen = int(np.argmax([score.probabilities[faulty].sum() for score in scores]))
        probabilities = scores[chosen].probabilities
    sample = replace(views[chosen][0], label=labels[0], healthy=not bad)
    unknown, passing = max(score.unknown for score in scores), [score.passes for score in scores]
    passes = None if None in passing else all(passing)
    return sample, replace(scores[chosen], probabilities=probabilities, unknown=unknown, passes=passes)
