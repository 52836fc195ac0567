"""Words, numbers and scales of the report."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.training.report.scales import Scale, rates, rounded_up
from shared.training.report.svg import coordinate, element, thinned
from shared.training.report.text import compact, count, escaped, number, percent, plain


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.96924, "0.9692"),
        (0.999961, "1"),
        (1234.0, "1,234"),
        (1234567.0, "1,234,567"),
        (0.00021, "0.00021"),
        (0, "0"),
        (-0.25, "-0.25"),
        (1e-9, "1.000e-09"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_a_figure_has_four_significant_digits(value: float | None, shown: str) -> None:
    """Enough to compare models, and no more."""
    assert number(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"), [(0.98, "98.0 %"), (1.0, "100 %"), (0.00998, "0.998 %"), (0.099996, "10.0 %"), (None, "–")]
)
def test_a_share_is_told_as_per_cent_of_one_precision(share: float | None, shown: str) -> None:
    """Also where rounding carries it to the next power of ten."""
    assert percent(share).replace("\N{NO-BREAK SPACE}", " ") == shown


def test_large_numbers_are_short_on_axes_and_whole_in_tables() -> None:
    """As people write them."""
    assert [compact(value) for value in (5e5, 2e6, 0.05, 100)] == ["500k", "2M", "0.05", "100"]
    assert count(550463.0) == "550,463"


def test_markup_in_names_is_escaped() -> None:
    """A name cannot begin an element nor end an attribute."""
    assert escaped("<script>alert('1')</script>\"&") == ("&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;&quot;&amp;")


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\x00", "\x1b", "\u200b", "\ufeff", "\ud800", "\u2028"])
def test_invisible_and_direction_changing_characters_are_spelled_out(character: str) -> None:
    """What a reader cannot see, or what turns the rest of the line around, is told by its code point."""
    assert plain(f"a{character}b") == f"a⟨U+{ord(character):04X}⟩b"


def test_a_long_text_is_cut() -> None:
    """With a sign that it was."""
    assert plain("x" * 300, 10) == "x" * 9 + "…"


@given(low=st.floats(-1e3, 1e3), width=st.floats(1e-3, 1e9))
def test_linear_ticks_are_few_round_and_inside(low: float, width: float) -> None:
    """Whatever the range."""
    scale = Scale(low, low + width)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 8
    room = (scale.high - scale.low) * 1e-6
    assert all(scale.low - room <= tick <= scale.high + room for tick in ticks)


@given(low=st.integers(-9, 5), decades=st.floats(0.5, 12))
def test_logarithmic_ticks_are_inside_and_not_too_many(low: int, decades: float) -> None:
    """Powers of ten, or 1-2-5 where few powers fit."""
    scale = Scale(10.0**low, 10.0 ** (low + decades), logarithmic=True)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 8
    assert all(scale.low * 0.999 <= tick <= scale.high * 1.001 for tick in ticks)


def test_positions_are_in_proportion_and_stay_inside() -> None:
    """Linear and logarithmic; values beyond lie on the edge."""
    linear = rates().onto(300, 100)
    assert linear.positions([0, 0.25, 1, 7, -3]).tolist() == [300, 250, 100, 100, 300]
    logarithmic = rates(low=0.001).onto(0, 300)
    assert logarithmic.positions([0.001, 0.01, 0.1, 1, 0]).round(9).tolist() == [0, 100, 200, 300, 0]


@pytest.mark.parametrize(("low", "high", "logarithmic"), [(1, 1, False), (0, 1, True), (0, float("nan"), False)])
def test_a_scale_without_range_is_refused(low: float, high: float, logarithmic: bool) -> None:
    """Before anything is drawn with it."""
    with pytest.raises(ValueError, match=r"range|above 0"):
        Scale(low, high, logarithmic=logarithmic)


@given(st.floats(1e-9, 1e9))
def test_an_axis_ends_at_a_round_number_not_far_above(value: float) -> None:
    """It holds the value and is not half empty."""
    top = rounded_up(value)
    assert value * (1 - 1e-9) <= top <= value * 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_never_drawn(value: float) -> None:
    """An attribute holds a number or nothing is written."""
    with pytest.raises(ValueError, match="cannot be drawn"):
        element("circle", cx=value)


def test_coordinates_are_short() -> None:
    """Tenths, without a trailing zero or a negative zero."""
    assert [coordinate(value) for value in (12.0, 3.14159, -0.04, 0.0)] == ["12", "3.1", "0", "0"]


@given(st.lists(st.tuples(st.floats(0, 400), st.floats(0, 250)), min_size=1, max_size=300))
def test_thinning_leaves_no_point_further_than_its_bound(points: list[tuple[float, float]]) -> None:
    """Each point that is left out has a drawn one within half a unit in x and in y; both ends stay."""
    given_points = np.array(points)
    kept = thinned(given_points)
    away = np.abs(given_points[:, None, :] - kept[None, :, :]).max(axis=2).min(axis=1)
    assert away.max() <= 0.5
    assert kept[0].tolist() == given_points[0].tolist()
    assert kept[-1].tolist() == given_points[-1].tolist()
