"""Made surfaces: the same from the same seed, and labelled exactly where they are flawed."""

import numpy as np
import pytest

from flawsmith.synth.surface import FLAWS, surface, surfaces


def test_item_depends_on_seed_and_index_alone() -> None:
    one, again = surface(3, 5, 2, 96, True), list(surfaces(6, seed=3, side=96, flawed=1.0))[5]
    np.testing.assert_array_equal(one.image(), again.image())
    assert [d.box for d in one.defects] == [d.box for d in again.defects]
    assert not np.array_equal(one.image(), surface(4, 5, 2, 96, True).image())
    assert not np.array_equal(one.image(), surface(3, 4, 2, 96, True).image())


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_share_of_flawed_parts_is_met(share: float) -> None:
    made = list(surfaces(32, side=64, flawed=share, per_part=1))
    assert sum(not sample.healthy for sample in made) == pytest.approx(32 * share, abs=1)


def test_images_of_a_part_share_its_group_and_are_all_flawed_or_all_good() -> None:
    made = list(surfaces(16, side=64))
    for first, second in zip(made[::2], made[1::2], strict=True):
        assert first.groups == second.groups
        assert (first.label == "flawed") == (second.label == "flawed")
    assert len({sample.groups["part"] for sample in made}) == 8


@pytest.mark.parametrize("kind", FLAWS)
def test_a_flaw_changes_the_surface_where_it_says_and_nowhere_else(kind: str) -> None:
    dents, stains = FLAWS[kind](np.random.default_rng(1), 128)
    changed = (dents != 0) | (stains != 0)
    assert changed.any()
    assert changed.mean() < 0.2
    assert ((stains >= 0) & (stains < 1)).all()


def test_flawed_and_flawless_twins_differ_at_the_defects_only() -> None:
    bad = surface(0, 7, 3, 128, True)
    assert bad.defects
    mask = np.any([d.full_mask((128, 128)) for d in bad.defects], axis=0)
    image = bad.image().astype(float)
    inside, outside = image[mask], image[~mask]
    # Grooves and films are darker or steeper than the grain: their spread or level stands out from the surface's.
    assert abs(inside.mean() - outside.mean()) > 2 or inside.std() > 1.2 * outside.std()
    assert not surface(0, 7, 3, 128, False).defects
