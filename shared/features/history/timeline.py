"""Sorted times of many groups, searched all at once."""

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from shared.features.history.events import Ints

Positions = NDArray[np.signedinteger[Any]]
_CHUNK: Final = 2.0**61


class Timeline:
    """Times sorted within consecutive groups.

    The groups are laid end to end on one axis of integers, so that one ``searchsorted`` answers for all of them. Where
    that axis would leave int64, it starts anew: there are a few such chunks at most.

    :param times: (n,) int64, ascending within a group.
    :param bounds: (groups + 1,) where each group begins, and n; no group is empty.
    """

    def __init__(self, times: Ints, bounds: Positions) -> None:
        self._bounds = bounds
        self._first = times[bounds[:-1]]
        self._span = times[bounds[1:] - 1] - self._first
        room = self._span + 2
        self._chunk = (np.cumsum(room.astype(np.float64)) / _CHUNK).astype(np.int64)
        ends = np.cumsum(room)  # wraps, which the subtraction below undoes
        starts_chunk = np.flatnonzero(np.r_[True, self._chunk[1:] != self._chunk[:-1]])
        self._chunk_groups = np.r_[starts_chunk, len(self._chunk)]
        begins = ends - room
        lengths = np.diff(self._chunk_groups)
        self._base = begins - np.repeat(begins[starts_chunk], lengths)
        self._axis = np.repeat(self._base - self._first, np.diff(bounds)) + times

    def search(self, groups: Positions, values: Ints, *, after: bool = False) -> Positions:
        """Position of the first time of its group that is ``>= value``, or ``> value`` with ``after``; the group's end
        when there is none.

        :param groups: (m,) ascending.
        """
        first, span = self._first[groups], self._span[groups]
        wanted = self._base[groups] + np.clip(values, first - 1, first + span + 1) - first
        side: Literal["left", "right"] = "right" if after else "left"
        found = np.empty(len(groups), np.intp)
        for begin, end in zip(self._chunk_groups[:-1], self._chunk_groups[1:], strict=True):
            here = slice(*np.searchsorted(groups, [begin, end]))
            low, high = self._bounds[begin], self._bounds[end]
            found[here] = low + np.searchsorted(self._axis[low:high], wanted[here], side)
        return found
