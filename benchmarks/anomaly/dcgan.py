"""The generative line on DAGM class 1, from healthy images alone: what the search finds, and what each stabiliser does.

One fold of the images is the test (`quality.fold_of`, seed 0); no defective image is learnt from. A crop is defective
where a label covers a hundredth of it, healthy where its image is. The literature names 2.77 as the ratio of defective
to healthy loss, at 1.5 s an image by its search of 500 steps, which is "published" here.

    python benchmarks/anomaly/dcgan.py --device cuda --filters 1024 512 256 128 --steps 20000 --turned
    python benchmarks/anomaly/dcgan.py --steps 300 --slow-images 1 --no-ablation        # on a processor
    python benchmarks/anomaly/dcgan.py --quick                                          # does it run at all?
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "render"))
sys.path.append(str(Path(__file__).parents[1]))
from report import RESULTS, data_folder, save, spread

from quality import fold_of
from table import prepared

SEARCHES: dict[str, dict[str, Any]] = {
    "encoder": {"mode": "encoder"},
    "published": {"mode": "published"},
    "adam": {"mode": "adam"},
    "adam, encoder's start": {"mode": "adam", "start": "encoder", "steps": 30},
    "adam, 4 starts": {"mode": "adam", "starts": 4},
    "adam, features": {"mode": "adam", "start": "encoder", "steps": 30, "feature_weight": 0.1},
    "lbfgs": {"mode": "lbfgs"},
    "lbfgs, encoder's start": {"mode": "lbfgs", "start": "encoder"},
}
STABILISERS: dict[str, dict[str, Any]] = {
    "none": {},
    "resize": {"resize": True},
    "truncated": {"truncated": True},
    "2 generator steps": {"generator_steps": 2},
    "gate 0.2": {"gate": 0.2},
    "discriminator by SGD": {"discriminator_sgd": True},
    "flipped labels 0.05": {"flipped": 0.05},
    "soft labels 0.2": {"soft": 0.2},
    "noise 0.1": {"noise": 0.1},
    "spectral norm": {"spectral": True},
    "R1 10": {"r1": 10.0},
}
SHARE, LOOKED_AT, COMPARED = 0.01, 512, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--work", type=Path, default=Path("runs/anomaly"), help="imported data sets")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: CUDA where there is")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--filters", type=int, nargs="+", default=[128, 64, 32, 16])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--encoder-steps", type=int, default=300)
    parser.add_argument("--ablation-steps", type=int, help="default: as --steps")
    parser.add_argument("--stabilisers", nargs="+", default=[], choices=list(STABILISERS), help="of the main run")
    parser.add_argument("--turned", action="store_true", help="mirror and turn the crops")
    parser.add_argument("--no-ablation", action="store_true")
    parser.add_argument("--searches", nargs="+", default=list(SEARCHES), choices=list(SEARCHES))
    parser.add_argument("--slow-images", type=int, help="healthy, and as many defective, for all but encoder; all")
    parser.add_argument("--threads", type=int, help="of the processor")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few steps of everything, no result kept")
    args = parser.parse_args()
    if args.quick:
        args.filters, args.steps, args.encoder_steps, args.slow_images = [16, 8, 8, 4], 4, 4, 1
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda, and torch finds none")
    if args.threads:
        torch.set_num_threads(args.threads)
    data = prepared(args, "dagm")
    split = np.array(fold_of(data, 0))
    chosen = {key: value for name in args.stabilisers for key, value in STABILISERS[name].items()}
    learnt = learned(args, data.where(split == "train"), chosen, args.steps)
    show("none" if not chosen else str(chosen), learnt["report"])
    figures: dict[str, Any] = {"options": options_of(args), "main": learnt["report"], "searches": {}, "ablation": {}}
    test = data.where(split == "test")
    for name in args.searches:
        judged = searched(args, learnt, test, SEARCHES[name], None if name == "encoder" else args.slow_images)
        figures["searches"][name] = judged
        show(name, judged)
    picture(args, learnt, test)
    for name, values in {} if args.no_ablation else STABILISERS.items():
        other = learned(args, data.where(split == "train"), values, args.ablation_steps or args.steps)
        found = other["report"] | searched(args, other, test, SEARCHES["encoder"], None)
        figures["ablation"][name] = found
        show(name, found)
    if not args.quick:
        print(save("dcgan", figures, "torch", group="anomaly"))


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, without the folders."""
    return {name: value for name, value in vars(args).items() if name not in ("data", "work")}


def learned(args: argparse.Namespace, train: Any, stabilisers: dict[str, Any], steps: int) -> dict[str, Any]:
    """Networks, spec, settings, and how good what they draw is."""
    from flawsmith.model.anomaly.dcgan.detect import dcgan_spec, learn_dcgan
    from flawsmith.model.anomaly.dcgan.look import Looks
    from flawsmith.model.anomaly.dcgan.settings import DcganSettings

    values = {"side": args.side, "filters": args.filters, "batch": args.batch, "steps": steps, "turned": args.turned}
    more = {"encoder_steps": args.encoder_steps, "stabilisers": stabilisers}
    settings = DcganSettings.model_validate(values | more)
    healthy = train.where(np.array(train.column("healthy"), bool))
    spec = dcgan_spec(healthy, settings, None)
    begin = time.perf_counter()
    found = learn_dcgan(healthy, spec, settings, args.seed, on_step=progress)
    seconds = time.perf_counter() - begin
    nets = found.residuals.nets
    real = real_crops(healthy, spec, settings, args.seed).to(next(nets.parameters()).device)
    looks, fake = Looks(real), generated(nets, settings, len(real))
    # the other half of the real crops is as near as can be had
    floor = Looks(real[::2])(real[1::2])
    report = {"fit_s": round(seconds, 1), "device": str(real.device), **looks(fake), "real_to_real": floor}
    report |= {"last_losses": found.state.history[-1], "spread_of_fakes": float(fake.std()) / float(real.std())}
    return {"nets": nets, "spec": spec, "settings": settings, "report": report, "real": real, "fake": fake}


def real_crops(healthy: Any, spec: Any, settings: Any, seed: int) -> Any:
    from flawsmith.model.anomaly.dcgan.crops import HealthyCrops, held_images

    return HealthyCrops(held_images(healthy, spec, 512), settings.side, settings.turned, seed).batch(0, LOOKED_AT)


def generated(nets: Any, settings: Any, count: int) -> Any:
    import torch

    from flawsmith.model.anomaly.dcgan.nets import draw

    device = next(nets.parameters()).device
    z = draw(count, settings.stabilisers.truncated, torch.Generator(device).manual_seed(1))
    with torch.no_grad():
        return torch.cat([nets.generator(part) for part in z.split(64)])


def searched(args: argparse.Namespace, learnt: dict, test: Any, search: dict, images: int | None) -> dict[str, Any]:
    """Losses of crops and scores of images by one search."""
    import torch
    from sklearn.metrics import roc_auc_score

    from flawsmith.core.spec import predict_image
    from flawsmith.model.anomaly.dcgan.detect import Residuals
    from flawsmith.model.anomaly.dcgan.settings import SearchSettings
    from flawsmith.model.run import torch_run

    settings = learnt["settings"].model_copy(update={"search": SearchSettings.model_validate(search)})
    residuals = Residuals(learnt["nets"], settings, learnt["spec"].bit_depth, args.seed)
    sharp = Residuals(learnt["nets"], settings.model_copy(update={"smooth_px": 0.0}), 8, args.seed)
    run, kept = torch_run(sharp), {True: [], False: []}
    scores, truth, taken = [], [], []
    for healthy in (True, False):
        some = test.where(np.array(test.column("healthy"), bool) == healthy)
        for sample in some.take(range(min(images or len(some), len(some)))):
            image = sample.image()
            begin = time.perf_counter()
            raw = predict_image(run, image, learnt["spec"]).map
            taken.append(1000 * (time.perf_counter() - begin))
            blurred = residuals.blur(torch.from_numpy(raw)[None, None].to(next(residuals.nets.parameters()).device))
            scores.append(float(blurred.max()))
            truth.append(not healthy)
            masks = sample.masks(("defect",), image.shape[:2]) if not healthy else None
            kept[healthy] += crop_losses(raw, None if masks is None else masks.any(0), settings.side)
    good, bad = kept[True], kept[False]
    marks = [0] * len(good) + [1] * len(bad)
    ratio = float(np.mean(bad) / np.mean(good)) if bad else None
    return {
        "images": [truth.count(False), truth.count(True)],
        "crops": [len(good), len(bad)],
        "ratio": ratio,
        "healthy_loss": float(np.mean(good)),
        "crop_auroc": float(roc_auc_score(marks, good + bad)) if bad else None,
        "image_auroc": float(roc_auc_score(truth, scores)),
        "ms": spread(taken[1:] or taken, 1),
    }


def crop_losses(raw: np.ndarray, mask: np.ndarray | None, side: int) -> list[float]:
    """Sum of |crop - re-creation| over each whole crop; with a mask only of those that it covers."""
    height, width = (length // side * side for length in raw.shape)

    def blocks(plane: np.ndarray) -> np.ndarray:
        return plane[:height, :width].reshape(height // side, side, width // side, side).transpose(0, 2, 1, 3)

    losses = blocks(raw).sum((2, 3)).ravel()
    return (losses if mask is None else losses[blocks(mask).mean((2, 3)).ravel() >= SHARE]).tolist()


def picture(args: argparse.Namespace, learnt: dict, test: Any) -> None:
    """Two rows each of real and generated crops, then defective crops and their re-creations."""
    import torch

    from flawsmith.core.files import write_atomic
    from flawsmith.core.image import encode_png
    from flawsmith.core.spec import scaled
    from flawsmith.model.anomaly.dcgan.crops import centred
    from flawsmith.model.anomaly.dcgan.detect import cut
    from flawsmith.model.anomaly.dcgan.look import grid

    bad, side = test.where(~np.array(test.column("healthy"), bool)), learnt["settings"].side
    queries = []
    for sample in bad.take(range(min(8, len(bad)))):
        image = sample.image()
        covered = torch.from_numpy(sample.masks(("defect",), image.shape[:2]).any(0))[None, None].float()
        crops, _ = cut(centred(scaled(image, learnt["spec"])[None]), side)
        queries.append(crops[int(cut(covered, side)[0].mean((1, 2, 3)).argmax())])
    asked = torch.stack(queries).to(learnt["real"].device)
    with torch.no_grad():
        again = learnt["nets"].generator(learnt["nets"].encoder(asked))
    rows = torch.cat([learnt["real"][:COMPARED], learnt["fake"][:COMPARED], asked, again])
    path = args.work / "dcgan.png" if args.quick else RESULTS / "anomaly_dcgan.png"
    write_atomic(path, encode_png(grid(rows)))
    print(path)


def progress(step: int, losses: dict[str, float]) -> None:
    if step % 50 == 0:
        print(step, {name: round(value, 3) for name, value in losses.items()}, file=sys.stderr, flush=True)


def show(name: str, found: dict[str, Any]) -> None:
    print(f"{name:24}", {key: round(v, 4) if isinstance(v, float) else v for key, v in found.items()}, flush=True)


if __name__ == "__main__":
    main()
