"""The worst cases: which ones, and what is drawn."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored_images import flat, scored_images

from flawsmith.core import Defect, Prediction, Sample, decode
from flawsmith.evaluate import evaluate
from flawsmith.evaluate.pictures import PREDICTED, TRUTH, detail_window, draw_case


def coloured(png: bytes, colour: tuple[int, int, int]) -> np.ndarray:
    return (decode(png) == colour).all(axis=2)


def test_escapes_come_first_then_the_lowest_scores():
    pairs = [flat(v, f"bad-{v}", healthy=False) for v in (0.9, 0.2, 0.6, 0.1, 0.7)]
    pairs += [flat(v, f"good-{v}") for v in (0.3, 0.8, 0.4, 0.55)]
    main = evaluate(pairs, ("crack",), pictures=3).main
    assert [c.sample_id for c in main.worst_defective] == ["bad-0.1", "bad-0.2", "bad-0.6"]
    assert [c.rejected for c in main.worst_defective] == [False, False, True]
    assert [c.sample_id for c in main.worst_healthy] == ["good-0.8", "good-0.55", "good-0.4"]
    assert main.worst_defective[0].largest_defect_px == 6


def test_a_decisions_escapes_come_first_whatever_their_score():
    pairs = [flat(v, f"bad-{v}", healthy=False) for v in (0.9, 0.2)]
    main = evaluate(pairs, ("crack",), rejects=lambda p: p.score < 0.5, pictures=1).main
    assert [c.sample_id for c in main.worst_defective] == ["bad-0.9"]


def test_no_more_pictures_than_asked_for():
    pairs = scored_images(0, 30)
    assert len(evaluate(pairs, ("crack", "pit"), pictures=4, resamples=0).main.worst_healthy) == 4
    assert evaluate(pairs, ("crack", "pit"), pictures=0, resamples=0).main.worst_healthy == ()


@given(*[st.integers(0, 300)] * 2, *[st.integers(1, 90)] * 2)
def test_the_detail_lies_in_the_image_and_holds_its_centre(x, y, width, height):
    focus = (x, y, x + width, y + height)
    x0, y0, x1, y1 = detail_window(focus, (400, 400))
    assert 0 <= x0 <= (focus[0] + focus[2]) // 2 <= x1 <= 400
    assert 0 <= y0 <= (focus[1] + focus[3]) // 2 <= y1 <= 400
    assert x0 <= max(x, 0)
    assert x1 >= min(x + width, 400)


@pytest.mark.parametrize("shape", [(60, 80), (2000, 1500)])
@pytest.mark.parametrize("image", ["grey", "colour", "16 bits"])
def test_truth_and_prediction_are_outlined_even_of_one_pixel(shape, image):
    pixels = {
        "grey": np.full(shape, 90, np.uint8),
        "colour": np.full((*shape, 3), 90, np.uint8),
        "16 bits": np.tile(np.arange(shape[1], dtype=np.uint16), (shape[0], 1)),
    }[image]
    truth, predicted = np.zeros(shape, bool), np.zeros(shape, bool)
    truth[40, 50] = True
    predicted[48, 30] = True
    detail, _ = draw_case(pixels, truth, predicted, (50, 40, 51, 41))
    assert coloured(detail, TRUTH).sum() > 8
    assert coloured(detail, PREDICTED).sum() > 4


def test_an_outline_runs_round_the_region_and_leaves_it_in_sight():
    truth = np.zeros((200, 200), bool)
    truth[80:120, 80:120] = True
    detail, _ = draw_case(np.full((200, 200), 90, np.uint8), truth, truth, (80, 80, 120, 120))
    x0, y0, x1, y1 = detail_window((80, 80, 120, 120), (200, 200))
    inside = cv2.resize(truth[y0:y1, x0:x1].astype(np.uint8), (336, 336), interpolation=cv2.INTER_NEAREST) > 0
    for colour in (TRUTH, PREDICTED):
        ring = coloured(detail, colour)
        assert ring.any()
        assert not (ring & inside).any()


def test_the_overview_is_left_out_where_the_detail_shows_everything():
    nothing = np.zeros((100, 110), bool)
    assert draw_case(np.zeros((100, 110), np.uint8), nothing, nothing, (5, 5, 9, 9))[1] == b""
    large = np.zeros((900, 700), bool)
    overview = decode(draw_case(np.zeros((900, 700), np.uint8), large, large, (5, 5, 9, 9))[1])
    assert max(overview.shape[0] / 336, overview.shape[1] / 150) <= 1


def test_a_defect_without_a_region_is_shown_where_the_score_is_highest():
    maps = np.zeros((1, 400, 500), np.float32)
    maps[0, 350:360, 450:460] = 0.9
    sample = Sample("a", np.zeros((400, 500), np.uint8), healthy=False, label="crack")
    case = evaluate([(sample, Prediction(("crack",), maps, 0.9))], ("crack",)).main.worst_defective[0]
    assert case.kinds == ("crack",)
    assert coloured(case.detail_png, PREDICTED).any()


def test_a_defect_at_the_very_border_is_drawn():
    defect = Defect("crack", (298, 0, 300, 2), np.ones((2, 2), bool))
    sample = Sample("a", np.zeros((50, 300), np.uint8), False, "crack", (defect,))
    prediction = Prediction(("crack",), np.zeros((1, 50, 300), np.float32), 0.0)
    case = evaluate([(sample, prediction)], ("crack",)).main.worst_defective[0]
    assert coloured(case.detail_png, TRUTH).any()
