"""The page of a cutter head: complete, safe, self-contained, and the decision in its first sentence."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from flawsmith.core import ConfigError
from flawsmith.decide.wear_report import FIGURES, InsertWear, render_wear, write_wear_report
from flawsmith.model.wear.estimate import WearEstimate
from flawsmith.model.wear.history import ForecastSettings, WearHistory
from flawsmith.model.wear.measure import WearMeasurement, WearSettings, measure_wear
from flawsmith.model.wear.picture import draw_wear

HOSTILE = '<script>alert("x")</script>&{{ 7*7 }}'


def worn(height: int, pixel_mm: float | None = 0.01) -> tuple[WearMeasurement, np.ndarray]:
    mask = np.zeros((160, 300), bool)
    mask[20 : 20 + height, 40:240] = True
    wear = measure_wear(mask, pixel_mm, settings=WearSettings.model_validate({"edge": {"outside": "top"}}))
    return wear, draw_wear(np.full(mask.shape, 90, np.uint8), mask, wear, 160)


def growing(name: str, rate: float, readings: int = 6) -> WearHistory:
    passes = np.arange(1, readings + 1)
    return WearHistory.of(name, passes, 0.03 + rate * passes + 0.001 * (-1.0) ** passes)


def head() -> list[InsertWear]:
    first, picture = worn(12)
    return [
        InsertWear("T1", first, picture, growing("T1", 0.012)),
        InsertWear("T2", worn(20)[0], None, growing("T2", 0.02), WearEstimate(0.19, "worn", {"worn": 0.9}, None)),
        InsertWear(HOSTILE, worn(9, None)[0], None, growing("T3", 0.02, 2)),
        InsertWear("T4"),
    ]


class Text(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.links: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if value and name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "svg", "title"} & set(self.open):
            self.text += " ".join(data.split()) + " "


def test_every_insert_is_there_and_the_first_to_go_is_named():
    text = Text(render_wear(head(), "Head 7")).text
    assert "Insert T2 is the first to reach VB 0.3 mm: around pass 13" in text
    assert "For 2 of 4 inserts it cannot be foreseen." in text
    assert "0.120 mm" in text
    assert "9.0 px" in text  # no pixel size: no millimetres
    assert "not foreseeable: 2 readings; at least 4 are needed" in text
    assert "not measured" in text
    assert "worn" in text


def test_an_insert_over_the_limit_is_called_whatever_says_so():
    by_picture = InsertWear("T5", worn(35)[0])
    by_history = InsertWear("T6", None, None, WearHistory.of("T6", [1, 2], [0.1, 0.32]))
    assert "Change now: T5, T6 reached" in Text(render_wear([*head(), by_picture, by_history])).text
    relaxed = Text(render_wear([*head(), by_picture, by_history], settings=ForecastSettings(limit_mm=0.5))).text
    assert "Change now" not in relaxed


def test_the_page_needs_nothing_else_and_runs_nothing():
    page = render_wear(head(), HOSTILE)
    assert "<script" not in page
    assert "{{ 7*7 }}" in page  # shown, not worked out
    links = Text(page).links
    assert links
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert page.count("<svg") == 3


def test_the_folder_holds_the_page_and_its_figures_and_the_same_bytes_each_time(tmp_path: Path):
    page = write_wear_report(head(), tmp_path / "a")
    assert page.read_bytes() == write_wear_report(head(), tmp_path / "b").read_bytes()
    kept = json.loads((tmp_path / "a" / FIGURES).read_text())
    first, _, unknown, bare = kept["inserts"]
    assert first["measurement"]["vb_mean_mm"] == pytest.approx(0.12, abs=0.005)
    assert first["forecast"]["low"] < first["forecast"]["at"] < first["forecast"]["high"]
    assert len(first["readings"]) == 6
    assert unknown["measurement"]["vb_mean_mm"] is None
    assert unknown["measurement"]["vb_mean_px"] == pytest.approx(9, abs=0.5)
    assert bare == {"name": "T4", "measurement": None, "estimate": None, "readings": None, "forecast": None}
    with pytest.raises(ConfigError, match="overwrite"):
        write_wear_report(head(), tmp_path / "a")


def test_no_inserts_and_two_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="no inserts"):
        render_wear([])
    with pytest.raises(ConfigError, match="'T4' are given twice"):
        render_wear([InsertWear("T4"), InsertWear("T4")])
    nothing = Text(render_wear([InsertWear("T4")])).text
    assert "cannot be foreseen for any insert" in nothing
