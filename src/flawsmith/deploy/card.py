"""The model card: one page for the engineer who signs. What it learnt from, what was measured, where it ends."""

from dataclasses import dataclass

from flawsmith.decide.rules import Decision
from flawsmith.deploy.parity import Parity
from flawsmith.line.recipe import RecipeInfo


@dataclass(frozen=True)
class Story:
    """What the card tells beyond the recipe itself.

    training: sentences on the training images
    headline: the evaluation in one sentence; empty when none was given
    figures:  (figure, value, 95 % interval) of the evaluation
    limits:   what the author knows of its limits
    """

    training: tuple[str, ...] = ()
    headline: str = ""
    figures: tuple[tuple[str, str, str], ...] = ()
    limits: tuple[str, ...] = ()


def model_card(info: RecipeInfo, decision: Decision, parity: Parity, story: Story) -> str:
    """Markdown."""
    parts = [
        f"# {info.name}",
        f"Inspection recipe, exported {info.created} by flawsmith {info.flawsmith}.",
        _finds(info),
        "## Trained on",
        _bullets(_trained(info, story)),
        "## Measured",
        _measured(story),
        "## Decision",
        _decision(decision, info),
        "## Engines",
        _engines(info, parity),
        "## Limits",
        _bullets(_limits(info, parity, story)),
    ]
    return "\n\n".join(parts) + "\n"


def _finds(info: RecipeInfo) -> str:
    spec = info.spec
    colour = "grey" if spec.channels == 1 else "RGB"
    size = f" A pixel is {info.pixel_mm:g} mm on the part." if info.pixel_mm else ""
    does = f"Tells {', '.join(spec.classes)} apart" if spec.side else f"Finds {', '.join(spec.kinds)}"
    return f"{does} in {colour} images of {spec.bit_depth} bits.{size}"


def _trained(info: RecipeInfo, story: Story) -> list[str]:
    lines = list(story.training)
    if info.dataset:
        lines.insert(0, f"Data set {info.dataset.name!r}, content hash `{info.dataset.content_hash}`.")
    return lines or ["Not stated."]


def _measured(story: Story) -> str:
    if not story.headline and not story.figures:
        return "Nothing was given at export: run `flawsmith evaluate` and export with `--metrics`."
    table = [f"| {_cell(name)} | {_cell(value)} | {_cell(interval)} |" for name, value, interval in story.figures]
    head = ["| figure | value | 95 % interval |", "|---|---:|---:|"] if table else []
    return "\n\n".join(part for part in (story.headline, "\n".join([*head, *table])) if part)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _decision(decision: Decision, info: RecipeInfo) -> str:
    rows = ["| kind | NG from | REVIEW from | smallest region | allowed | action |", "|---|---:|---:|---:|---:|---|"]
    for kind in info.spec.kinds:
        rule = decision.rule(kind)
        if rule is not None and not (info.spec.poses and rule.action == "ignore"):  # hundreds of angles
            cells = (kind, rule.threshold, rule.review_at, f"{rule.min_area_px} px", rule.max_count, rule.action)
            rows.append("| " + " | ".join(map(str, cells)) + " |")
    origin = {
        "hand": "Written by hand; nothing is demonstrated about its error rates.",
        "calibrate": "Chosen by `flawsmith calibrate`.",
        "edited": "Calibrated once and then edited: what had been demonstrated no longer holds.",
    }[decision.origin]
    shown = [
        f"- {d.rate.replace('_', ' ')} rate at most {d.target:g} at {d.confidence:.0%} confidence ({d.k} of {d.n})"
        for d in (decision.calibration.demonstrated if decision.calibration and decision.origin == "calibrate" else ())
    ]
    note = "As exported; `decision.json` may be edited later, and each result names the one it was made with."
    return "\n\n".join(part for part in ("\n".join(rows), origin, "\n".join(shown), note) if part)


def _engines(info: RecipeInfo, parity: Parity) -> str:
    rows = ["| engine | precision | ms | score differs by | map differs by (mean) |", "|---|---|---:|---:|---:|"]
    for name, entry in info.engines.items():
        rows.append(f"| {name} | {entry.precision} | {entry.ms:.0f} | {entry.score_diff:.1g} | {entry.map_diff:.1g} |")
    held_out = ", ".join(f"{count} {status}" for status, count in sorted(parity.verdicts.items()))
    proof = f"Each gave the trained model's verdict on all {parity.images} held-out images ({held_out})."
    left_out = [f"- {name} was left out: {_cell(reason)}" for name, reason in parity.left_out.items()]
    return "\n\n".join(part for part in ("\n".join(rows), proof, "\n".join(left_out)) if part)


def _limits(info: RecipeInfo, parity: Parity, story: Story) -> list[str]:
    lines = [
        *story.limits,
        "It knows the defects, surfaces, light and camera of its training images; anything else is outside what was "
        "measured. Check it anew after any change of these.",
        f"It knows nothing besides {', '.join(info.spec.classes)}.",
    ]
    return lines + [f"Warning of the parity gate: {warning}." for warning in parity.warnings]


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
