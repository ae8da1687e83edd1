"""The main figures as rows of a terminal table."""

from flawsmith.evaluate.class_evaluation import ClassEvaluation
from flawsmith.evaluate.evaluation import Evaluation
from flawsmith.evaluate.intervals import Figure, Rate

Row = tuple[str, str, str]


def headline_rows(evaluation: Evaluation) -> list[Row]:
    """(figure, value, 95 % interval); a figure that is not defined says why in place of the interval."""
    main = evaluation.main
    rows = [
        ("images, defective / good", f"{main.defective} / {main.healthy}", ""),
        _rate("escapes", main.operating.escape_rate),
        _rate("false rejects", main.operating.false_alarm_rate),
        _figure("image AUROC", main.image.auroc),
        _figure("image AP", main.image.average_precision),
        _figure("pixel AP", main.pixels.average_precision),
        _figure("pixel Dice", main.pixels.dice),
        _figure("pixel AUPRO 0.30", main.pixels.aupro_30),
        _figure("box mAP, any overlap", main.means.boxes.any_overlap),
        _figure("box mAP, COCO .5:.95", main.means.boxes.coco_50_95),
    ]
    return rows + [_figure(f"pixel Dice, {kind.kind}", kind.pixels.dice) for kind in main.kinds if len(main.kinds) > 1]


def class_rows(evaluation: ClassEvaluation) -> list[Row]:
    """As `headline_rows`, of a classifier."""
    main = evaluation.main
    rows = [
        ("images, of known classes / of others", f"{main.known} / {main.foreign}", ""),
        _rate("right class", main.accuracy),
        _figure("balanced accuracy", main.balanced_accuracy),
    ]
    if main.passing:
        rows += [_rate("escapes", main.passing.escapes), _rate("false rejects", main.passing.false_rejects)]
    rows += [
        _rate("known images called unknown", main.unknown.known),
        _figure("calibration error", main.calibration.ece),
        _figure("… of a perfect model, by chance", main.calibration.perfect_ece),
    ]
    return rows + [_rate(f"recall, {found.label}", found.recall) for found in main.classes]


def _rate(name: str, rate: Rate) -> Row:
    if rate.low is None or rate.high is None:
        return name, f"{rate.k} of {rate.n}", rate.reason or ""
    return name, f"{rate.k} of {rate.n}", f"{rate.low:.1%} … {rate.high:.1%}"


def _figure(name: str, figure: Figure) -> Row:
    if figure.value is None:
        return name, "–", figure.reason or ""
    if figure.low is None or figure.high is None:
        return name, f"{figure.value:.3f}", figure.reason or ""
    return name, f"{figure.value:.3f}", f"{figure.low:.3f} … {figure.high:.3f}"
