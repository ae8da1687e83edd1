"""The classifier's page: complete, safe, self-contained, the same bytes each time; each cell opens its images."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scored_classes import CLASSES, changed, picture, scored_classes, stub
from test_report import HOSTILE, Outline

from flawsmith.core import ConfigError, EnvironmentFault
from flawsmith.evaluate import ClassEvaluation, DatasetFacts, evaluate_classes, render_classes, write_class_report

AB = ("good", "dent")


def small(**options: Any) -> ClassEvaluation:
    pairs = scored_classes(1, 90, foreign=12, pictured=True, skill=1.5)
    pairs += scored_classes(2, 36, pictured=True, provenance="render", prefix="render")
    facts = DatasetFacts(name="gears", content_hash="ab12" * 16, split="test", model="runs/gears")
    settings: dict[str, Any] = {
        "dataset": facts,
        "resamples": 40,
        "lookup": lambda name: picture(np.random.default_rng(len(name)), "rust", 48)[0],
    }
    return evaluate_classes(pairs, CLASSES, **(settings | options))


@pytest.fixture(scope="module")
def evaluation() -> ClassEvaluation:
    return small()


@pytest.fixture(scope="module")
def page(evaluation: ClassEvaluation) -> str:
    return render_classes(evaluation)


def test_the_sections_come_in_order(page):
    headings = [line for line in Outline(page).lines if line.startswith(("h1", "h2", "h3"))]
    of_each = [
        "h3 | Confusion matrix: what each class was taken for",
        "h3 | By class",
        "h3 | The verdict “unknown”",
        "h3 | The most frequent confusions",
        "h3 | Are its probabilities honest?",
    ]
    assert headings == [
        "h1 | gears · test split",
        "h2 | Real photographs: 102 images",
        *of_each,
        "h2 | Synthetic images (rendered): 36 images",
        *of_each,
        "h2 | Feature map",
        "h2 | How to read this",
    ]


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
    ids = [attributes["id"] for _, attributes in Outline(page).tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = set(re.findall(r'href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page))
    assert references <= set(ids)


def test_each_cell_with_images_leads_to_them(page, evaluation):
    for figures in evaluation.provenances:
        links = set(re.findall(rf'href="#({figures.provenance}-cell-\d+)"', page))
        assert len(links) == len(figures.cells) == np.count_nonzero(np.array(figures.matrix.counts))
        for number, cell in enumerate(figures.cells):
            start = page.index(f'id="{figures.provenance}-cell-{number}"')
            gallery = page[start : page.index("</div></div>", start)]
            assert gallery.count("<img") == len(cell.shown) == min(cell.images, 12)
            assert all(f'alt="{image.sample_id}"' in gallery for image in cell.shown)


def test_the_matrix_shows_counts_and_shares_of_the_row(page, evaluation):
    main = evaluation.main
    count = main.matrix.counts[0][0]
    assert f"<b>{count}</b><small>{100 * count / sum(main.matrix.counts[0]):.1f} %</small>" in page
    assert "burr <span" in page


def test_rates_are_shown_as_k_of_n_with_their_interval(page, evaluation):
    passing, recall = evaluation.main.passing, evaluation.main.classes[1].recall
    assert passing is not None
    assert f"{passing.escapes.k} <small>of {passing.escapes.n}</small>" in page
    assert f"<b>{recall.k} / {recall.n}</b>" in page
    assert f"– {100 * (recall.high or 0):.1f} %)" in page


def test_the_calibration_error_stands_beside_that_of_a_perfect_model(page, evaluation):
    calibration = evaluation.main.calibration
    assert f"<b>{calibration.ece.value:.3f}</b>" in page
    assert f"<b>{calibration.perfect_ece.value:.3f}</b>" in page


def test_the_same_evaluation_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_class_report(small(), tmp_path / name)
    for file in ("report.html", "metrics.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_folder_holds_the_page_and_the_metrics(tmp_path, evaluation):
    path = write_class_report(evaluation, tmp_path / "out")
    assert path == tmp_path / "out" / "report.html"
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics == evaluation.to_json()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".flawsmith", "metrics.json", "report.html"]
    with pytest.raises(ConfigError, match="--overwrite"):
        write_class_report(evaluation, tmp_path / "out")
    assert write_class_report(evaluation, tmp_path / "out", overwrite=True) == path


def test_factory_users_never_read_of_positives_and_negatives(page, evaluation):
    for text in (Outline(page).text, json.dumps(evaluation.to_json())):
        assert not re.search(r"\b(TP|FP|FN|TN|TPR|FPR)\b|(true|false)[ _-](positive|negative)", text, re.IGNORECASE)


def test_hostile_names_stay_text():
    names = (HOSTILE, "b")
    pairs = [
        stub(label, [0.3, 0.7], f"{HOSTILE}-{label}-{i}", nearest=(HOSTILE,), split=HOSTILE, healthy=label == HOSTILE)
        for i in range(4)
        for label in (HOSTILE, "b", f"{HOSTILE} 2")
    ]
    pairs = [changed(p, features=np.arange(3, dtype=np.float32) * i) for i, p in enumerate(pairs)]
    facts = DatasetFacts(name=HOSTILE, content_hash=HOSTILE, split=HOSTILE, model=HOSTILE)
    page = render_classes(evaluate_classes(pairs, names, dataset=facts, resamples=0))
    assert "<script" not in page
    outline = Outline(page)
    assert outline.text.count(HOSTILE) > 10
    assert "{{ 7*7 }}" in outline.text


AWKWARD = {
    "one good": [stub("good", [0.9, 0.1], "a")],
    "one defective": [stub("dent", [0.9, 0.1], "a")],
    "foreign only": [stub("burr", [0.9, 0.1], str(i), unknown=0.9, healthy=False) for i in range(6)],
    "all unknown": [stub("good", [0.5, 0.5], str(i), unknown=1.0) for i in range(6)],
    "certain and wrong": [stub("good", [0, 1], str(i)) for i in range(6)],
    "no healthy class": [stub("dent", [0, 1], str(i)) for i in range(6)],
    "sixteen bits": [stub("dent", [1, 0], "a", pixels=np.full((9, 70), 40_000, np.uint16))],
    "constant features": [stub("good", [1, 0], str(i), features=np.ones(2, np.float32)) for i in range(4)],
    "any script": [stub("_$\\x$ 划痕", [1, 0], str(i), features=np.eye(4, dtype=np.float32)[i]) for i in range(4)],
}


@pytest.mark.parametrize("pairs", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_data_sets_have_a_page_too(pairs):
    page = render_classes(evaluate_classes(pairs, AB, resamples=30))
    text = Outline(page).text
    assert "None" not in text
    assert "nan" not in text.lower().split()


def test_many_classes_have_a_small_matrix():
    names = tuple(f"class {i:02}" for i in range(24))
    row = np.full(24, 1 / 24, np.float32)
    pairs = [changed(stub(name, [1, 0], name), probabilities=row) for name in names]
    page = render_classes(evaluate_classes(pairs, names, resamples=0))
    assert '<table class="matrix small">' in page
    Outline(page)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, evaluation):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentFault, match="cannot write"):
        write_class_report(evaluation, tmp_path / "file" / "out")


def drawn(page: Path, target: str, folder: Path) -> np.ndarray:
    """The page as headless Chromium shows it, long enough to need no scrolling."""
    shot = folder / "page.png"
    command = [shutil.which("chromium") or "chromium", "--headless", "--no-sandbox", "--hide-scrollbars"]
    command += ["--window-size=1200,9000", f"--screenshot={shot}", page.as_uri() + target]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    image = cv2.imread(str(shot))
    assert image is not None
    return image


@pytest.mark.browser
def test_a_browser_shows_a_cells_images_when_it_is_chosen(tmp_path, evaluation):
    page = write_class_report(evaluation, tmp_path / "out")
    closed, opened = drawn(page, "", tmp_path), drawn(page, "#real-cell-0", tmp_path)
    lengths = [int(np.flatnonzero((image < 250).any(axis=(1, 2)))[-1]) for image in (closed, opened)]
    assert lengths[1] > lengths[0] + 100
