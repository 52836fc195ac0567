"""Heads that are written down, and seals that tell entries apart."""

import pytest

from shared.audit.chain import Head, seal


def test_a_head_reads_back() -> None:
    """What the command prints is what it takes."""
    head = Head(17, seal(b"", 17, ["a"]))
    assert Head.parse(str(head)) == head


@pytest.mark.parametrize("text", ["", "17", "17:", "17:00", "0:" + "00" * 32, "x:" + "00" * 32, "17:" + "zz" * 32])
def test_nonsense_is_no_head(text: str) -> None:
    """A truncated hash would prove nothing."""
    with pytest.raises(ValueError, match=r"."):
        Head.parse(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab", "c"], ["a", "bc"]),
        ([None, "a"], ["a", None]),
        ([None], [""]),
        ([None], ["-"]),
        (["1:a"], ["a"]),
        (["é"], ["e"]),
    ],
)
def test_entries_that_differ_have_different_seals(one: list[str | None], other: list[str | None]) -> None:
    """No text can imitate the border between two fields, or its absence."""
    assert seal(b"", 1, one) != seal(b"", 1, other)


def test_place_and_predecessor_are_sealed_too() -> None:
    """The same entry elsewhere has another seal."""
    assert len({seal(b"", 1, ["a"]), seal(b"", 2, ["a"]), seal(b"x" * 32, 1, ["a"])}) == 3
