"""The whole path on one screen: photographs → data set → model → evaluation → decision → recipe → verdicts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flawsmith.core import DataError, Prediction, Sample
from flawsmith.core.files import check_free, staged_folder
from flawsmith.core.orientation import Orientation, placed
from flawsmith.dataset import Dataset
from flawsmith.dataset.duplicates import look_alikes
from flawsmith.dataset.few import with_labelled
from flawsmith.dataset.mix import Mix, mixed
from flawsmith.dataset.split import SplitRule, plan_split, save_split
from flawsmith.decide.calibrate import calibrate, calibrate_scores, check_enough
from flawsmith.decide.classes import asked_of, beyond_the_known, first_decision, unknown_to_a_person
from flawsmith.decide.report import CalibrationReport
from flawsmith.decide.request import CalibrationRequest
from flawsmith.decide.rules import Decision, check_kinds, decide, save_decision
from flawsmith.decide.wear_check import wear_cases
from flawsmith.deploy.export import Export
from flawsmith.deploy.request import ExportRequest, export_model
from flawsmith.evaluate.class_evaluation import ClassEvaluation, evaluate_classes
from flawsmith.evaluate.classes import ClassScore
from flawsmith.evaluate.evaluation import DatasetFacts, Evaluation, evaluate
from flawsmith.evaluate.orientation import Judged as Oriented
from flawsmith.evaluate.orientation import OrientationEvaluation, evaluate_orientation
from flawsmith.evaluate.views import together as join_views
from flawsmith.evaluate.wear import WearCase, WearEvaluation, evaluate_cases
from flawsmith.model.anomaly import AnomalyDetector, AnomalySettings
from flawsmith.model.classify import Classifier, ClassifySettings
from flawsmith.model.crops import usable
from flawsmith.model.distil import DISTIL, DistilSettings, Student
from flawsmith.model.ensemble import Ensemble
from flawsmith.model.models import Model
from flawsmith.model.orientation import OrientationSettings, Orienter
from flawsmith.model.orientation_data import part_of, resting_poses, shown_poses, truths
from flawsmith.model.runs import SETTINGS, keep_settings, train_into
from flawsmith.model.segment import Segmenter, SegmentSettings, fingerprints
from flawsmith.model.train import Progress
from flawsmith.model.wear.learn import WearRun, WearTrainSettings, identity_of_run, insert_groups, learn_wear
from flawsmith.part import Part

Scored = Iterator[tuple[Sample, Prediction]]
Judged = tuple[Sample, ClassScore]


def split_dataset(
    folder: Path, rule: SplitRule | None = None, say: Callable[[str], None] = lambda remark: None
) -> Dataset:
    """Share the images out to train, val and test by group, and write it into the manifest."""
    dataset = Dataset.open(folder)
    plan = plan_split(dataset, rule or SplitRule(), lambda: look_alikes(dataset))
    for remark in plan.remarks:
        say(remark)
    return save_split(dataset, plan)


def training_data(
    folder: Path, labelled: int | None = None, seed: int = 0, mix: Mix = ()
) -> tuple[Dataset, Dataset | None]:
    """The training and validation images.

    labelled: keeps so many defective ones to learn from
    mix:      keeps so many of each class, by provenance; only the first one's validate
    """
    dataset = Dataset.open(folder)
    train = dataset.split("train")
    if labelled is not None:
        train = with_labelled(train, labelled, seed)
    val = dataset.split("val") if "val" in dataset.column("split") else None
    if not mix:
        return train, val
    val = val.where(mix[0].rows(val)) if val else None
    return mixed(train, mix, seed), val or None


def plan_training(folder: Path, settings: SegmentSettings, labelled: int | None = None) -> dict[str, Any]:
    """What a training would use, without training."""
    train, val = training_data(folder, labelled, settings.train.seed)
    kinds = settings.kinds or train.classes
    marked = [row for row in usable(train, kinds).column("defects") if row]
    return {
        "train": len(train),
        "val": len(val) if val else 0,
        "defective": len(marked),
        "kinds": list(kinds),
        "settings": settings.model_dump(mode="json"),
    }


def train_segmenter(
    folder: Path,
    run: Path,
    settings: SegmentSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    labelled: int | None = None,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Segmenter:
    """Learn from the train split, stop on the val split, keep model, checkpoint, logs and settings in `run`."""
    train, val = training_data(folder, labelled, (settings or SegmentSettings()).train.seed)
    return train_into(run, Segmenter(settings), train, val, resume, overwrite, on_step)


def train_classifier(
    folder: Path,
    run: Path,
    settings: ClassifySettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_step: Callable[[Progress], None] = lambda progress: None,
    mix: Mix = (),
    members: int = 1,
) -> Classifier:
    """As `train_segmenter`, from the labels of whole images; `run` gets a decision to begin with as well.

    members: more than 1 make an ensemble
    """
    train, val = training_data(folder, seed=(settings or ClassifySettings()).train.seed, mix=mix)
    model = Ensemble(settings, members) if members > 1 else Classifier(settings)
    model = train_into(run, model, train, val, resume, overwrite, on_step)
    save_decision(run / "decision.json", first_decision(model.spec))
    return model


def distil_classifier(
    teacher: Classifier,
    folder: Path,
    run: Path,
    settings: DistilSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Classifier:
    """A student that learns from the teacher and the true labels; see `model.distil`."""
    train, val = training_data(folder)
    student = Student(teacher, settings or DistilSettings())
    model = train_into(run, student, train, val, resume, overwrite, on_step, {DISTIL: student.distil})
    save_decision(run / "decision.json", first_decision(model.spec))
    return model


def train_orienter(
    folder: Path,
    run: Path,
    settings: OrientationSettings | None = None,
    part: Part | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> Orienter:
    """Learn from renders how the part lies. part: None takes the one that was rendered."""
    train, val = training_data(folder)
    whole, chosen = Dataset.open(folder), settings or OrientationSettings()
    # of all images: a pose that only a test image shows must have its place too
    poses = resting_poses(part or part_of(whole), shown_poses(whole), chosen.bins_per_turn)
    model = train_into(run, Orienter(chosen, poses), train, val, resume, overwrite, on_step)
    save_decision(run / "decision.json", unknown_to_a_person())
    return model


def train_anomaly(
    folder: Path,
    run: Path,
    settings: AnomalySettings | None = None,
    overwrite: bool = False,
    base: Path | None = None,
    remove: Sequence[str] = (),
) -> AnomalyDetector:
    """Learn from the healthy images of the train split; those of val tell how far healthy parts lie apart.

    base: a run to go on with: it takes in the images that it does not know, and gives up those that `remove` names
    """
    train, val = training_data(folder)
    check_free(run, overwrite, "run")
    model = AnomalyDetector.load(base).update(train, remove) if base else AnomalyDetector(settings).fit(train, val)
    with staged_folder(run, overwrite, "run") as stage:
        model.save(stage)
        keep_settings(stage / SETTINGS, model.settings)
        save_decision(stage / "decision.json", beyond_the_known())
    return model


def train_wear(
    folder: Path,
    run: Path,
    settings: WearTrainSettings,
    segmenter: Segmenter | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda remark: None,
) -> WearRun:
    """Learn VB and level from the masks of all images but the test split's; nothing is tuned on val here."""
    dataset = Dataset.open(folder)
    dataset.split("train")
    part = dataset.where([split in ("train", "val") for split in dataset.column("split")])
    grouping = insert_groups(part, settings.group, lambda: look_alikes(part))
    for remark in grouping.remarks:
        say(f"note: {remark}")
    check_free(run, overwrite, "run")
    learnt = learn_wear(part, grouping.numbers, settings, segmenter)
    with staged_folder(run, overwrite, "run") as stage:
        learnt.save(stage)
        keep_settings(stage / SETTINGS, settings)
    return learnt


def evaluate_wear(
    run: Path,
    dataset: Dataset,
    split: str,
    watch: Callable[[Iterator[Sample]], Iterator[Sample]] = lambda samples: samples,
) -> tuple[WearEvaluation, list[WearCase]]:
    """Figures of a wear run on one split, and its images. Raises as `unseen`, for the segmenter's images too."""
    learnt = WearRun.load(run)
    part = unseen(learnt, dataset.split(split))
    if learnt.segmenter is not None:
        unseen(learnt.segmenter, part)
    cases, left_out = wear_cases(learnt, part, watch)
    facts = learnt.facts
    figures = evaluate_cases(
        cases,
        facts.unit,
        facts.vb_mean,
        facts.usual_level,
        segmented=learnt.segmenter is not None,
        vb_from=facts.vb_from,
        level_at=facts.level_at,
        left_out=left_out,
        dataset=DatasetFacts(
            name=dataset.info.name,
            content_hash=dataset.info.content_hash,
            split=split,
            model=identity_of_run(run, learnt),
        ),
    )
    return figures, cases


def score(model: Model, dataset: Dataset, roi: np.ndarray | None = None) -> Scored:
    """Every image of `dataset` with what the model says of it, one at a time."""
    for sample in dataset:
        yield sample, next(model.predict([sample.image()], roi))


def evaluate_classifier(
    model: Classifier,
    dataset: Dataset,
    split: str,
    roi: np.ndarray | None = None,
    watch: Callable[[Iterator[Judged]], Iterator[Judged]] = lambda pairs: pairs,
    together: str | None = None,
    decision: Decision | None = None,
) -> ClassEvaluation:
    """Figures on one split, with the pictures that explain them. Raises as `unseen`.

    decision: escapes and false rejects are its own; None: by the most probable class
    together: judge images that share this group, "part" or another, as one: several cameras, one verdict
    """
    part, kinds = unseen(model, dataset.split(split)), model.spec.kinds
    if decision:
        check_kinds(decision, kinds)
    known = {name: row for row, name in enumerate(dataset.column("id"))}

    def judged() -> Iterator[Judged]:
        for sample in part:
            seen = next(model.look([sample.image()], roi=roi))
            said = seen.prediction(model.spec)
            passes = decide(said, decision).status == "OK" if decision else None
            yield sample, ClassScore(**vars(seen), passes=passes)

    pairs, classes = watch(judged()), model.spec.classes
    return evaluate_classes(
        join_views(pairs, together, classes, model.spec.healthy) if together else pairs,
        model.spec.classes,
        healthy=model.spec.healthy,
        rule=_in_words(decision, kinds, regions=False) if decision else None,
        lookup=lambda name: dataset[known[name]].image(),
        dataset=DatasetFacts(
            name=dataset.info.name, content_hash=dataset.info.content_hash, split=split, model=model.identity(roi)
        ),
    )


def evaluate_orienter(
    model: Orienter,
    dataset: Dataset,
    split: str | None = "test",
    roi: np.ndarray | None = None,
    watch: Callable[[Iterable[Sample]], Iterator[Sample]] = iter,
) -> tuple[OrientationEvaluation, list[Oriented]]:
    """Figures on one split (None: all images), and every image's own. Raises as `unseen`."""
    images = unseen(model, dataset.split(split) if split else dataset)
    poses = model.spec.poses
    truth, judged = truths(images, poses), []
    for row, sample in enumerate(watch(images)):
        pose, camera = poses[truth.pose[row]], truth.cameras[row]
        x, y = truth.centre_px[row]
        angle = float(truth.angle_deg[row]) if pose.symmetry else None
        real = placed(Orientation(pose.number, angle, (float(x), float(y)), 1.0), poses, camera)
        found = placed(next(model.orient([sample.image()], roi)), poses, camera)
        judged.append(Oriented(sample.id, real, found, pose.period_deg))
    facts = DatasetFacts(
        name=dataset.info.name,
        content_hash=dataset.info.content_hash,
        split=split or "all",
        model=model.identity(roi),
    )
    return evaluate_orientation(judged, facts), judged


def evaluate_model(
    model: Segmenter | AnomalyDetector,
    dataset: Dataset,
    split: str,
    decision: Decision | None = None,
    roi: np.ndarray | None = None,
    watch: Callable[[Scored], Scored] = lambda pairs: pairs,
) -> Evaluation:
    """Figures on one split; with a decision, escapes and false rejects are its own. Raises as `unseen`."""
    pairs = watch(score(model, unseen(model, dataset.split(split)), roi))
    facts = DatasetFacts(
        name=dataset.info.name, content_hash=dataset.info.content_hash, split=split, model=model.identity(roi)
    )
    if decision is None:
        return evaluate(pairs, model.spec.kinds, dataset=facts, roi=roi)
    check_kinds(decision, model.spec.kinds)
    rules = [rule for kind in model.spec.kinds if (rule := decision.rule(kind)) and rule.action != "ignore"]
    return evaluate(
        pairs,
        model.spec.kinds,
        threshold=min(rule.threshold for rule in rules),
        min_area_px=max(1, min(rule.min_area_px for rule in rules)),
        rejects=lambda prediction: decide(prediction, decision).status != "OK",
        rule=_in_words(decision, model.spec.kinds),
        dataset=facts,
        roi=roi,
    )


def unseen(model: Model | WearRun, part: Dataset) -> Dataset:
    """`part` itself. Raises `DataError` when the model learnt from any of its images: figures would be too good."""
    known = int(np.isin(fingerprints(part), model.trained_on_).sum())
    if known:
        raise DataError(
            f"{known} of these {len(part)} images were trained on (was the data set split again?): train again"
        )
    return part


def _in_words(decision: Decision, kinds: tuple[str, ...], regions: bool = True) -> str:
    """What does not pass, for the report's headline; without regions by the probability of whole images."""
    rules = {kind: rule for kind in kinds if (rule := decision.rule(kind)) and rule.action != "ignore"}
    if not regions:
        return "; ".join(f"{kind} ≥ {rule.review_at:g}" for kind, rule in rules.items())
    texts = {kind: f"score ≥ {rule.review_at:g} on {rule.min_area_px} px or more" for kind, rule in rules.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{kind}: {text}" for kind, text in texts.items())


def calibrate_model(
    model: Model,
    dataset: Dataset,
    request: CalibrationRequest,
    roi: np.ndarray | None = None,
    watch: Callable[[Scored], Scored] = lambda pairs: pairs,
) -> CalibrationReport:
    """Choose thresholds and areas on the request's split. Raises `GateError` where the target cannot be shown."""
    part = unseen(model, dataset.split(request.split))
    if model.spec.task == "classify" and not request.kinds:
        request = request.model_copy(update={"kinds": asked_of(model.spec, request)})
    check_enough(part, request)
    request = request.model_copy(
        update={
            "dataset": dataset.info.name,
            "dataset_hash": dataset.info.content_hash,
            "model": model.identity(roi),
        }
    )
    choose = calibrate_scores if model.spec.task == "anomaly" else calibrate
    return choose(watch(score(model, part, roi)), model.spec.kinds, request)


def export_recipe(
    model: Model,
    dataset: Dataset,
    decision: Decision,
    out: Path,
    request: ExportRequest | None = None,
    say: Callable[[str], None] = lambda step: None,
) -> Export:
    """Write the recipe behind the parity gate. Raises `GateError` where an engine flips a verdict."""
    return export_model(model, dataset, decision, out, request or ExportRequest(), say)
