"""The data set in figures: pixel sizes one by one while they are few, else as a range."""

import pytest
from made_sets import made, surface

from flawsmith.core.sample import Sample
from flawsmith.dataset.summary import summarise


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ([0.5, 0.5, 0.25], {"0.25": 1, "0.5": 2}),
        ([None, 0.5], {"0.5": 1, "unknown": 1}),
        ([None, None], {"unknown": 2}),
        ([0.1, 0.11, 0.12, 0.13, 0.14, 0.14], {"0.1 … 0.14": 6}),
    ],
)
def test_pixel_sizes(tmp_path, sizes, told):
    samples = [Sample(f"{n}", surface(n), True, pixel_mm=size) for n, size in enumerate(sizes)]
    assert summarise(made(tmp_path / "set", samples)).pixel_mm == told
