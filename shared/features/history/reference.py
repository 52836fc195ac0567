"""History features as their definition reads, in plain loops over exact numbers. Tests compare both executors with it.

Quadratic and slow on purpose: nothing here is shared with the executors but the events and the requests.
"""

import math
from collections import Counter
from fractions import Fraction
from typing import Final

from shared.features.history.events import MISSING, UNKNOWN, EncodedEvents, EventLayout
from shared.features.history.specs import HistorySpec

_NAN: Final = float("nan")


class Reference:
    """The features of single rows of a dataset."""

    def __init__(self, layout: EventLayout, events: EncodedEvents) -> None:
        self._layout = layout
        self._times: list[int] = events.time_us.tolist()
        self._identities: list[int] = events.id_hashes().tolist()
        self._keys: list[list[int]] = [keys.tolist() for keys in events.keys]
        self._numbers: list[list[int]] = [numbers.tolist() for numbers in events.numbers]
        self._codes: list[list[int]] = [codes.tolist() for codes in events.codes]
        self._labels = list(zip(events.label.tolist(), events.known_at_us.tolist(), strict=True))

    def feature(self, spec: HistorySpec, row: int) -> float:
        """The feature of one row; NaN is missing."""
        keys, now = self._keys[self._layout.entities.index(spec.entity)], self._times[row]
        if keys[row] == MISSING or now == MISSING:
            return _NAN
        past = self._newest(keys, row)
        window = [event for event in past if self._times[event] >= now - spec.window_us]
        match spec.function:
            case "count":
                return float(len(window))
            case "first_time":
                return 0.0 if window else 1.0
            case "time_since_last":
                return (now - max(self._times[event] for event in window)) / 1e6 if window else _NAN
            case "acceleration":
                baseline = [event for event in past if self._times[event] >= now - spec.baseline_us]
                recent = Fraction(len(window), spec.window_us)
                return float(recent / Fraction(len(baseline), spec.baseline_us)) if baseline else _NAN
            case "distinct" | "entropy":
                return _of_categories(spec, [self._codes[spec.column][event] for event in window])
            case "known_count" | "fraud_rate":
                labels = [self._labels[event] for event in window]
                known = [label for label, known_at in labels if label != UNKNOWN and MISSING != known_at < now]
                if spec.function == "known_count":
                    return float(len(known))
                return known.count(1) / len(known) if known else _NAN
            case _:
                column = self._numbers[spec.column]
                numbers = [column[event] for event in window]
                return _of_numbers(spec, [number for number in numbers if number != MISSING], column[row])

    def _newest(self, keys: list[int], row: int) -> list[int]:
        """The newest events of the row's key before the row's time, duplicates left out."""
        seen: set[tuple[int, int]] = set()
        past = []
        for event, key in enumerate(keys):
            time, identity = self._times[event], self._identities[event]
            if key != keys[row] or time == MISSING or time >= self._times[row]:
                continue
            if identity != MISSING:
                if (time, identity) in seen:
                    continue
                seen.add((time, identity))
            past.append(event)
        past.sort(key=lambda event: (self._times[event], self._identities[event], event))
        return past[-self._layout.history_limit :]


def _of_categories(spec: HistorySpec, codes: list[int]) -> float:
    counts = Counter(code for code in codes if code != MISSING)
    if spec.function == "distinct":
        return float(len(counts))
    n = counts.total()
    return math.fsum(-c / n * math.log2(c / n) for c in counts.values()) if n else _NAN


def _of_numbers(spec: HistorySpec, numbers: list[int], current: int) -> float:
    if spec.function == "sum":
        return float(Fraction(sum(numbers)) / Fraction(spec.scale))
    if not numbers:
        return _NAN
    n, total = len(numbers), sum(numbers)
    mean = Fraction(total, n)
    std = math.sqrt(Fraction(n * sum(number * number for number in numbers) - total * total, n * n))
    match spec.function:
        case "mean":
            return float(mean / Fraction(spec.scale))
        case "std":
            return std / spec.scale
        case "min":
            return min(numbers) / spec.scale
        case "max":
            return max(numbers) / spec.scale
        case "ratio_to_mean":
            return float(current / mean) if mean and current != MISSING else _NAN
        case "deviation":
            return float(current - mean) / std if std and current != MISSING else _NAN
    raise AssertionError(spec.function)
