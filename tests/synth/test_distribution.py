"""Numbers of a scene file: inside their support, shared where they say so, and never moved by a neighbour."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from flawsmith.synth.distribution import (
    Choice,
    Draw,
    LogUniform,
    Normal,
    Number,
    NumberChoice,
    Positive,
    Uniform,
    VonMises,
    support,
)

numbers = st.floats(-1e3, 1e3, allow_nan=False)
ordered = st.tuples(numbers, numbers).map(lambda p: (min(p), max(p)))
above_zero = st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)).map(lambda p: (min(p), max(p)))
NUMBER: TypeAdapter[Number] = TypeAdapter(Number)

distributions = st.one_of(
    ordered.map(lambda p: Uniform(uniform=p)),
    above_zero.map(lambda p: LogUniform(log_uniform=p)),
    st.tuples(numbers, st.floats(0.1, 10)).map(lambda p: Normal(normal=p, within=(p[0] - p[1], p[0] + 2 * p[1]))),
    st.lists(numbers, min_size=1, max_size=5).map(lambda v: NumberChoice(choice=tuple(v))),
)


@given(distributions, st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_draw_lies_in_the_support(number: Number, seed: int, index: int) -> None:
    value = Draw(seed, index).number(number, "x")
    low, high = support(number)
    assert low - 1e-9 <= value <= high + 1e-9


@given(distributions, st.integers(0, 1000))
def test_what_is_per_dataset_is_the_same_in_every_image(number: Uniform, seed: int) -> None:
    shared = number.model_copy(update={"per": "dataset"})
    assert len({Draw(seed, index).number(shared, "x") for index in range(5)}) == 1


def test_what_is_per_image_differs() -> None:
    assert len({Draw(3, index).number(Uniform(uniform=(0, 1)), "x") for index in range(50)}) == 50


@given(st.lists(st.sampled_from("abcdef"), max_size=8))
def test_a_value_does_not_depend_on_what_was_drawn_before(others: list[str]) -> None:
    draw = Draw(5, 7)
    for name in others:
        draw.number(Uniform(uniform=(0, 1)), name)
    assert draw.number(Uniform(uniform=(0, 1)), "camera") == Draw(5, 7).number(Uniform(uniform=(0, 1)), "camera")


def test_each_has_the_distribution_that_it_names() -> None:
    def drawn(number: Number) -> np.ndarray:
        return np.array([Draw(1, n).number(number, "x") for n in range(2000)])

    oracles = [
        (Uniform(uniform=(2, 5)), stats.uniform(2, 3)),
        (LogUniform(log_uniform=(0.1, 10)), stats.loguniform(0.1, 10)),
        (Normal(normal=(1, 2)), stats.norm(1, 2)),
        (Normal(normal=(1, 2), within=(0, 2)), stats.truncnorm(-0.5, 0.5, 1, 2)),
    ]
    for number, oracle in oracles:
        assert stats.kstest(drawn(number), oracle.cdf).pvalue > 1e-3
    angles = np.radians(drawn(VonMises(von_mises=(90, 4))))
    assert stats.kstest(angles, stats.vonmises(4, loc=math.pi / 2).cdf).pvalue > 1e-3


def test_a_truncated_normal_piles_up_at_no_end() -> None:
    values = [Draw(1, n).number(Normal(normal=(0, 1), within=(-0.5, 0.5)), "x") for n in range(500)]
    assert not {-0.5, 0.5} & set(values)
    assert len(set(values)) == 500


def test_weights_weigh() -> None:
    kinds = [Draw(1, n).choice(Choice(choice=("a", "b"), weights=(9, 1)), "kind") for n in range(500)]
    assert 0.83 < kinds.count("a") / 500 < 0.96


def test_what_was_drawn_is_recorded() -> None:
    draw = Draw(1, 0)
    draw.number(4, "fixed")
    drawn = draw.number(Uniform(uniform=(0, 1)), "free")
    draw.choice("steel", "material")
    assert draw.values == {"fixed": 4.0, "free": drawn, "material": "steel"}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"uniform": [3, 1]}, "the low end is above the high one"),
        ({"log_uniform": [0, 1]}, "both ends must be above 0"),
        ({"normal": [0, -1]}, "the standard deviation is negative"),
        ({"normal": [0, 1], "within": [5, 6]}, "more than 4 sd away"),
        ({"von_mises": [0, -1]}, "kappa is negative"),
        ({"choice": [1, 2], "weights": [1]}, "2 choices but 1 weights"),
        ({"choice": [1, 2], "weights": [0, 0]}, "one must be above 0"),
        ({"choice": []}, "at least 1 item"),
        ({"unifrom": [1, 2]}, "wanted a number, or one of {uniform"),
        ("fast", "valid number"),
    ],
)
def test_an_impossible_number_is_refused_in_one_line(written: object, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        NUMBER.validate_python(written)
    assert caught.value.error_count() == 1


def test_bounds_see_the_whole_distribution() -> None:
    positive: TypeAdapter[Number] = TypeAdapter(Positive)
    assert positive.validate_python({"uniform": [1, 2]}) == Uniform(uniform=(1, 2))
    for bad in (0, {"uniform": [0, 1]}, {"normal": [5, 1]}):
        with pytest.raises(ValidationError, match="must be above 0"):
            positive.validate_python(bad)
