"""What a handful of images a class is worth: drawn again and again, learnt from, and judged on all the others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from flawsmith.core.errors import ConfigError, DataError
from flawsmith.dataset.grouping import group_rows
from flawsmith.dataset.manifest import Dataset
from flawsmith.dataset.mix import Mix, Share, drawn
from flawsmith.model.classify import LEARNING, Classifier, ClassifySettings
from flawsmith.model.features import features_of


@dataclass(frozen=True, eq=False)
class FewShots:
    """Balanced accuracy (R,) and recall (R, K) of R draws by `mix`, on images of other groups."""

    classes: tuple[str, ...]
    mix: Mix
    accuracy: np.ndarray
    recall: np.ndarray
    judged: tuple[int, ...]  # images, in each draw

    def as_json(self) -> dict[str, Any]:
        return {
            "mix": [str(share) for share in self.mix],
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
        drawn_from = " + ".join(map(str, self.mix))
        title = f"{drawn_from} a class, {len(self.accuracy)} draws, judged on {min(self.judged)} or more"
        return title, ("figure", "mean ± sd", "95 % of the draws"), rows


def few_shots(dataset: Dataset, settings: ClassifySettings, mix: Mix, repeats: int) -> FewShots:
    """Draws from all images, whatever their split; groups are spread over a draw, and none is both drawn and judged.

    mix: what is drawn; images of the first share's provenance that were not drawn are judged, none of the others.

    The network is asked once for the features of all images; so it must be one that does not learn.

    Raises `ConfigError` for a way of tuning in which it learns, `DataError` where a class has too few images or groups.
    """
    if settings.tune.how in LEARNING:
        raise ConfigError(
            f"--shots fits heads on a network as it is: take tune.how frozen or augmented, not {settings.tune.how}"
        )
    if mix[0].count is None:
        raise ConfigError(f"{mix[0]} leaves none to judge: draw a number of them")
    model = Classifier(settings)
    views, net, labels = model.prepare(dataset)
    rounds = settings.tune.views * (settings.tune.how == "augmented")
    features = features_of(net.backbone, net.features, views, rounds).reshape(1 + rounds, len(labels), -1)
    groups, there = group_rows(views.dataset, "auto").numbers, np.unique(labels)
    classes = {int(k): model.spec.classes[k] for k in there}  # of combined aspects some have no image
    judgeable = mix[0].rows(views.dataset)
    found, judged = [], []
    for seed in range(repeats):
        rows = [drawn(views.dataset, share, labels, groups, seed, leave=share is mix[0]) for share in mix]
        rows = np.concatenate(rows)
        rest = np.flatnonzero(judgeable & ~np.isin(groups, groups[rows]))
        _check_rest(labels, groups, rest, judgeable, mix[0], classes)
        seen = features[:, rows].reshape(-1, features.shape[2])
        head = model.fit_head(seen, np.tile(labels[rows], 1 + rounds))
        with torch.inference_mode():
            said = head(torch.from_numpy(features[0, rest])).argmax(1).numpy()
        found.append([(said[labels[rest] == k] == k).mean() for k in classes])
        judged.append(len(rest))
    recall = np.array(found)
    return FewShots(tuple(classes.values()), mix, recall.mean(1), recall, tuple(judged))


def _check_rest(
    labels: np.ndarray,
    groups: np.ndarray,
    rest: np.ndarray,
    judgeable: np.ndarray,
    share: Share,
    classes: dict[int, str],
) -> None:
    for k, name in classes.items():
        if not (labels[rest] == k).any():
            mine = judgeable & (labels == k)
            raise DataError(
                f"class {name!r}: {mine.sum()} images in {len(np.unique(groups[mine]))} groups are too few to draw "
                f"{share.count} and judge by others; take fewer shots, add images, or leave the class out by classes"
            )


def _spread(values: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    told = {"mean": values.mean(), "sd": values.std(ddof=1), "low": low, "high": high}
    return {key: round(float(value), 4) for key, value in told.items()}
