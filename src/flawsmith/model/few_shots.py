"""What a handful of images a class is worth: drawn again and again, learnt from, and judged on all the others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.dataset.few import in_turn
from flawsmith.dataset.grouping import group_rows
from flawsmith.dataset.manifest import Dataset
from flawsmith.model.classify import LEARNING, Classifier, ClassifySettings
from flawsmith.model.features import features_of
from flawsmith.model.heads import fit_head


@dataclass(frozen=True, eq=False)
class FewShots:
    """Balanced accuracy (R,) and recall (R, K) of R draws of `shots` images a class, on images of other groups."""

    classes: tuple[str, ...]
    shots: int
    accuracy: np.ndarray
    recall: np.ndarray
    judged: tuple[int, ...]  # images, in each draw

    def as_json(self) -> dict[str, Any]:
        return {
            "shots": self.shots,
            "repeats": len(self.accuracy),
            "judged": list(self.judged),
            "balanced_accuracy": _spread(self.accuracy),
            "recall": {name: _spread(self.recall[:, k]) for k, name in enumerate(self.classes)},
        }

    def table(self) -> tuple[str, tuple[str, str, str], list[tuple[str, str, str]]]:
        """Title, columns and rows."""
        values = {"balanced accuracy": self.accuracy} | {
            f"recall, {name}": self.recall[:, k] for k, name in enumerate(self.classes)
        }
        rows = []
        for name, each in values.items():
            told = _spread(each)
            rows.append((name, f"{told['mean']:.3f} ± {told['sd']:.3f}", f"{told['low']:.3f} … {told['high']:.3f}"))
        title = f"{self.shots} images a class, {len(self.accuracy)} draws, judged on {min(self.judged)} or more"
        return title, ("figure", "mean ± sd", "95 % of the draws"), rows


def few_shots(dataset: Dataset, settings: ClassifySettings, shots: int, repeats: int) -> FewShots:
    """Draws from all images, whatever their split; groups are spread over a draw, and none is both drawn and judged.

    The network is asked once for the features of all images; so it must be one that does not learn.

    Raises `ConfigError` for a way of tuning in which it learns, `DataError` where a class has too few images or groups.
    """
    if settings.tune.how in LEARNING:
        raise ConfigError(
            f"--shots fits heads on a network as it is: take tune.how frozen or augmented, not {settings.tune.how}"
        )
    model = Classifier(settings)
    views, net, labels = model.prepare(dataset)
    rounds = settings.tune.views * (settings.tune.how == "augmented")
    features = features_of(net.backbone, net.features, views, rounds).reshape(1 + rounds, len(labels), -1)
    groups = group_rows(views.dataset, "auto").numbers
    drawn = [_draw(labels, groups, shots, seed, model.spec.classes) for seed in range(repeats)]
    classes, found, judged = model.spec.classes, [], []
    for seed, rows in enumerate(drawn):
        seen = features[:, rows].reshape(-1, features.shape[2])
        head = fit_head(seen, np.tile(labels[rows], 1 + rounds), len(classes), settings.head, seed)
        rest = np.flatnonzero(~np.isin(groups, groups[rows]))
        with torch.inference_mode():
            said = head(torch.from_numpy(features[0, rest])).argmax(1).numpy()
        found.append([(said[labels[rest] == k] == k).mean() for k in range(len(classes))])
        judged.append(len(rest))
    recall = np.array(found)
    return FewShots(classes, shots, recall.mean(1), recall, tuple(judged))


def _draw(labels: np.ndarray, groups: np.ndarray, shots: int, seed: int, classes: tuple[str, ...]) -> np.ndarray:
    """Rows of `shots` images of each class, from many groups, that leave some of each class to be judged."""
    rows: list[int] = []
    for k in np.unique(labels):
        mine = np.random.default_rng([seed, int(k)]).permutation(np.flatnonzero(labels == k)).tolist()
        rows += in_turn(mine, [groups[row] for row in mine])[:shots]
    left = labels[~np.isin(groups, groups[rows])]
    for k in np.unique(labels):
        if (labels == k).sum() < shots + 1 or not (left == k).any():
            count, apart = (labels == k).sum(), len(np.unique(groups[labels == k]))
            raise DataError(
                f"class {classes[k]!r} has {count} images in {apart} groups: "
                f"too few to draw {shots} and judge by others; take fewer shots"
            )
    return np.array(rows)


def _spread(values: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    told = {"mean": values.mean(), "sd": values.std(ddof=1), "low": low, "high": high}
    return {key: round(float(value), 4) for key, value in told.items()}
