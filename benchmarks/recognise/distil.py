"""An ensemble, its best member, its student, the same student untaught, and self-distillation, on real photographs.

One grouped fold of `quality.py`: a third of the groups is the test split, a fifth of the rest validation; nothing is
chosen on the test split. The members are EfficientNet-Lite0 with its last two blocks trained, the student is a small
CNN from scratch, sized to the data set, and another EfficientNet-Lite0 that sees fewer pixels. Accuracy and
milliseconds are those of the exported ONNX in ONNX Runtime, one thread, one image at a time, the models taking turns.

    python benchmarks/recognise/distil.py                                  # resumable: models are kept in --runs
    python benchmarks/recognise/distil.py --only magnetic-tile --steps 200 --student-steps 3000 --views 8   # larger
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "render"))
sys.path.insert(0, str(Path(__file__).parents[1]))
from report import RESULTS, data_folder, machine, versions

from quality import fold_of, prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--work", type=Path, default=Path("runs/quality"), help="imported data sets")
    parser.add_argument("--runs", type=Path, default=Path("runs/distil"), help="trained models")
    parser.add_argument("--only", choices=("neu", "magnetic-tile"), default="neu")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--student-side", type=int, default=64)
    parser.add_argument("--student-steps", type=int, default=800)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--out", type=Path, default=RESULTS / "recognise_distil.json")
    args = parser.parse_args()
    report = measured(args)
    args.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """Train what is not trained yet, and compare."""
    import torch

    from flawsmith import pipeline
    from flawsmith.deploy.compare import compare, rows

    torch.set_num_threads(1)
    dataset = prepare(args.data, args.work, args.only)
    fold = fold_of(dataset, seed=0)
    parts = {name: dataset.where([one == name for one in fold]) for name in ("train", "val", "test")}
    models, seconds = trained(args, parts)
    for model in models.values():
        pipeline.unseen(model, parts["test"])
    found = compare(models, parts["test"], "ensemble")
    columns, lines = rows(found)
    for line in (columns, *lines):
        print("  ".join(f"{cell:>16}" for cell in line))
    return {
        "benchmark": "recognise/distil",
        "hardware": machine(),
        "versions": versions("torch", "onnxruntime"),
        "data": {"name": args.only, "classes": list(models["ensemble"].spec.classes)}
        | {name: len(part) for name, part in parts.items()},
        "settings": {k: v for k, v in vars(args).items() if isinstance(v, int)},
        "engine": "ONNX Runtime, fp32, one thread, batch 1; shrinking the image is in the milliseconds",
        "train_seconds": seconds,
        "models": found,
    }


def trained(args: argparse.Namespace, parts: dict[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """All models by name, and the seconds that each took in this run."""
    from flawsmith.model.classify import Classifier, ClassifySettings
    from flawsmith.model.distil import DistilSettings, distil, own_settings
    from flawsmith.model.ensemble import Ensemble

    settings = ClassifySettings.model_validate(
        {
            "backbone": {"side": args.side},
            "tune": {"how": "last"},
            "train": {"steps": args.steps, "validate_every": max(args.steps // 3, 1), "threads": 1},
        }
    )
    student = {
        "backbone": {"side": args.student_side},
        "train": {"steps": args.student_steps, "threads": 1},
    }
    runs, seconds = args.runs / args.only, {}

    def kept(name: str, make: Callable[[Path], Classifier], kind: type[Classifier] = Classifier) -> Any:
        folder = runs / name
        if not (folder / "model.safetensors").exists():
            start = time.perf_counter()
            make(folder).save(folder)
            seconds[name] = round(time.perf_counter() - start, 1)
            print(name, f"{seconds[name]} s", flush=True)
        return kind.load(folder)

    def taught(teacher: Classifier, chosen: DistilSettings) -> Callable[[Path], Classifier]:
        return lambda folder: distil(teacher, parts["train"], parts["val"], chosen, folder, resume=True)

    ensemble = kept(
        "ensemble",
        lambda folder: Ensemble(settings, args.members).fit(parts["train"], parts["val"], folder, resume=True),
        Ensemble,
    )
    best = max(ensemble.members_, key=lambda member: right(member, parts["val"]))
    chosen = DistilSettings.model_validate({"views": args.views, "student": student})
    own = DistilSettings(views=args.views, student=own_settings(best))
    small = {
        "backbone": {"name": "efficientnet-lite0", "side": args.student_side},
        "train": {"steps": 250, "threads": 1},
    }
    shrunk = DistilSettings.model_validate({"views": args.views, "student": small})
    return {
        "ensemble": ensemble,
        "best member": best,
        "student": kept("student", taught(ensemble, chosen)),
        "student untaught": kept(
            "untaught",
            lambda run: Classifier(chosen.student).fit(parts["train"], parts["val"], run, resume=True),
        ),
        "student, EfficientNet-Lite0 on fewer pixels": kept("shrunk", taught(ensemble, shrunk)),
        "the same untaught": kept(
            "shrunk-untaught",
            lambda run: Classifier(shrunk.student).fit(parts["train"], parts["val"], run, resume=True),
        ),
        "self-distilled": kept("itself", taught(best, own)),
    }, seconds


def right(model: Any, part: Any) -> float:
    """Share of images whose most probable class is the true one."""
    from flawsmith.core.spec import top_class

    said = [top_class(next(model.predict([sample.image()])), model.spec)[0] for sample in part]
    return sum(a == b for a, b in zip(said, part.column("label"), strict=True)) / len(part)


if __name__ == "__main__":
    main()
