"""The page: complete, safe, self-contained, the same bytes each time, and in a quality engineer's words."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scored_images import Pair, flat, relabelled, scored_images

from flawsmith.core import EnvironmentFault
from flawsmith.evaluate import DatasetFacts, Evaluation, evaluate, render, write_report

HOSTILE = '<script>alert("x")</script>&{{ 7*7 }}'
KINDS = ("crack", "pit")
GOLDEN = Path(__file__).with_name("golden_report.txt")
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Outline(HTMLParser):
    """Headings, table heads and captions, and whether every tag is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.lines: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("h1", "h2", "h3", "tr", "figcaption", "title"):
            self.lines.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.text += data
        if any(tag in self.open for tag in ("h1", "h2", "h3", "th", "figcaption")) and data.strip():
            self.lines[-1] += " | " + " ".join(data.split())


def small(synthetic: bool = True, **options: Any) -> Evaluation:
    pairs = scored_images(30, 16, KINDS)
    if synthetic:
        more = scored_images(31, 8, KINDS)
        pairs += [relabelled(p, id=f"r{p[0].id}", provenance="render", pixel_mm=0.05) for p in more]
    facts = DatasetFacts(name="gears", content_hash="ab12" * 16, split="test", model="runs/gears")
    settings: dict[str, Any] = {"dataset": facts, "resamples": 40, "pictures": 2, "threshold": 0.45}
    return evaluate(pairs, KINDS, **(settings | options))


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return small()


@pytest.fixture(scope="module")
def page(evaluation: Evaluation) -> str:
    return render(evaluation)


def test_the_structure_is_the_golden_one(page):
    """Bless a wanted change with FLAWSMITH_BLESS=1."""
    lines = [re.sub(r"\d+ predicted", "N predicted", line) for line in Outline(page).lines if "|" in line]
    # the distinct scores are the machine's arithmetic, not the page's structure
    outline = "\n".join(line for line in lines if not re.fullmatch(r"tr \| \d\.\d{6}", line)) + "\n"
    if os.environ.get("FLAWSMITH_BLESS"):
        GOLDEN.write_text(outline, encoding="utf-8")
    assert outline == GOLDEN.read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(page):
    tags = Outline(page).tags
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in tags}
    for _, attributes in tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href"):
                assert str(value).startswith(("data:image/png;base64,", "#")), value
    assert "@import" not in page
    assert re.findall(r"url\((?!#)", page) == []


def test_ids_are_unique_and_references_point_to_them(page):
    tags = Outline(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = set(re.findall(r'href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page))
    assert references <= set(ids)
    assert len(references) > 20


def test_the_same_evaluation_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_report(small(synthetic=False), tmp_path / name)
    for file in ("report.html", "metrics.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_folder_holds_the_page_and_the_metrics(tmp_path, evaluation):
    path = write_report(evaluation, tmp_path / "out")
    assert path == tmp_path / "out" / "report.html"
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["schema_version"] == 1
    assert metrics == evaluation.to_json()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".flawsmith", "metrics.json", "report.html"]


def test_factory_users_never_read_of_positives_and_negatives(page, evaluation):
    for text in (Outline(page).text, json.dumps(evaluation.to_json())):
        assert not re.search(r"\b(TP|FP|FN|TN|TPR|FPR)\b|(true|false)[ _-](positive|negative)", text, re.IGNORECASE)
    for word in ("Correct passes", "Escapes", "False rejects", "Correct rejects", "False-alarm rate"):
        assert word in page


def test_hostile_names_stay_text():
    pairs = [relabelled(flat(0.9, f"{HOSTILE}-{i}", healthy=i > 2), label=HOSTILE) for i in range(6)]
    named: list[Pair] = []
    for sample, prediction in pairs:
        defects = tuple(d.__class__(HOSTILE, d.box, d.mask) for d in sample.defects)
        one = relabelled((sample, prediction), defects=defects, split=HOSTILE)[0]
        named.append((one, prediction.__class__((HOSTILE, "b"), np.repeat(prediction.maps, 2, axis=0), 0.9)))
    facts = DatasetFacts(name=HOSTILE, content_hash=HOSTILE, split=HOSTILE, model=HOSTILE)
    page = render(evaluate(named, (HOSTILE, "b"), dataset=facts, rule=HOSTILE, rejects=lambda p: True, resamples=0))
    assert "<script" not in page
    outline = Outline(page)
    assert "script" not in {tag for tag, _ in outline.tags}
    assert outline.text.count(HOSTILE) > 10
    assert "{{ 7*7 }}" in outline.text


def test_real_images_lead_and_each_provenance_has_its_own_section(page):
    headings = [line for line in Outline(page).lines if line.startswith("h2")]
    assert headings[0].startswith("h2 | Real photographs: 16")
    assert headings[1].startswith("h2 | Synthetic images (rendered): 8")
    assert "Real photographs:" in page[: page.index("<table")]


def test_rates_are_shown_as_k_of_n_with_their_interval(page, evaluation):
    main = evaluation.main
    assert f"{main.operating.escapes} <small>of {main.defective}</small>" in page
    assert f"<b>{main.operating.recall.k} / {main.operating.recall.n}</b>" in page
    assert f"– {100 * main.operating.recall.high:.1f} %)" in page


def test_the_pictures_are_in_the_page_with_a_legend(page):
    assert page.count("data:image/png;base64,") >= 8
    assert "truth (the labelled defect)" in page
    assert "prediction at the threshold" in page


def test_a_decision_has_its_own_row_in_the_sweep():
    page = render(small(synthetic=False, rejects=lambda p: p.score > 0.7, rule="score > 0.7 twice", pictures=0))
    assert "score &gt; 0.7 twice ◄" in page
    assert page.count("◄") == 1


AWKWARD = {
    "one healthy": [flat(0.2)],
    "one defective": [flat(0.2, healthy=False)],
    "no healthy": [flat(0.2, "a", healthy=False), flat(0.9, "b", healthy=False)],
    "no defective": [flat(0.2, "a"), flat(0.9, "b")],
    "constant": [flat(0.5, str(i), healthy=i % 2 == 0) for i in range(6)],
    "zero": [flat(0.0, str(i), healthy=i % 2 == 0) for i in range(6)],
    "unmarked": [relabelled(flat(0.2, "a", healthy=False), defects=()), flat(0.1, "b")],
    "everything is defect": [
        relabelled(
            flat(0.7, str(i), healthy=False),
            defects=(flat(0.7, healthy=False)[0].defects[0].__class__("crack", (0, 0, 16, 12)),),
        )
        for i in range(6)
    ],
}


@pytest.mark.parametrize("pairs", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_data_sets_have_a_page_too(pairs):
    page = render(evaluate(pairs, ("crack",), resamples=30))
    Outline(page)
    assert "None" not in Outline(page).text
    assert "nan" not in Outline(page).text.lower().split()


def test_a_folder_that_cannot_be_written_is_named(tmp_path, evaluation):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentFault, match="cannot write"):
        write_report(evaluation, tmp_path / "file" / "out")
