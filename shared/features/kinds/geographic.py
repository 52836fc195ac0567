"""Places: the distance between two points."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, Self

from shared.features.inputs import Read
from shared.features.kinds.base import NAN, FeatureKind, OnlineFunction, Slots, Values, feature_name
from shared.features.statistics import FitContext

if TYPE_CHECKING:
    import polars as pl

_EARTH_DIAMETER_KM = 2 * 6371.0088  # twice the mean radius, IUGG
_RADIANS = math.pi / 180
_MAX_LATITUDE, _MAX_LONGITUDE = 90.0, 180.0


class Haversine(FeatureKind):
    """Great-circle distance in kilometres on a sphere; missing where a coordinate is missing or impossible.

    ``d = 2 r asin(sqrt(sin²(Δφ/2) + cos φ₁ cos φ₂ sin²(Δλ/2)))``
    """

    kind: Literal["distance"] = "distance"
    group = "transaction"
    from_latitude: str
    from_longitude: str
    to_latitude: str
    to_longitude: str

    @classmethod
    def propose(cls, fit: FitContext) -> Iterator[Self]:
        distances = [d for d in fit.config.distances or () if all(fit.column(column) for column in d.columns())]
        for distance in distances:
            only = len(distances) == 1
            name = "distance_km" if only else feature_name(distance.from_latitude, "to", distance.to_latitude, "km")
            yield cls(name=name, **distance.model_dump())

    def reads(self) -> tuple[Read, ...]:
        columns = (self.from_latitude, self.from_longitude, self.to_latitude, self.to_longitude)
        return tuple(Read(column, "number") for column in columns)

    def batch(self, inputs: "Mapping[Read, pl.Expr]") -> "pl.Expr":
        import polars as pl

        latitude, longitude, other_latitude, other_longitude = (inputs[read] for read in self.reads())
        possible = (
            (latitude.abs() <= _MAX_LATITUDE)
            & (other_latitude.abs() <= _MAX_LATITUDE)
            & (longitude.abs() <= _MAX_LONGITUDE)
            & (other_longitude.abs() <= _MAX_LONGITUDE)
        )
        across = ((other_latitude - latitude) * (_RADIANS * 0.5)).sin()
        along = ((other_longitude - longitude) * (_RADIANS * 0.5)).sin()
        cosines = (latitude * _RADIANS).cos() * (other_latitude * _RADIANS).cos()
        chord = across * across + cosines * (along * along)
        return pl.when(possible).then(chord.sqrt().clip(upper_bound=1.0).arcsin() * _EARTH_DIAMETER_KM)

    def online(self, slots: Slots) -> OnlineFunction:
        a, b, c, d = (slots[read] for read in self.reads())
        sin, cos, asin, sqrt = math.sin, math.cos, math.asin, math.sqrt

        def haversine(values: Values) -> float:
            latitude, longitude, other_latitude, other_longitude = values[a], values[b], values[c], values[d]
            if latitude is None or longitude is None or other_latitude is None or other_longitude is None:
                return NAN
            if abs(latitude) > _MAX_LATITUDE or abs(other_latitude) > _MAX_LATITUDE:
                return NAN
            if abs(longitude) > _MAX_LONGITUDE or abs(other_longitude) > _MAX_LONGITUDE:
                return NAN
            across = sin((other_latitude - latitude) * (_RADIANS * 0.5))
            along = sin((other_longitude - longitude) * (_RADIANS * 0.5))
            cosines = cos(latitude * _RADIANS) * cos(other_latitude * _RADIANS)
            chord = across * across + cosines * (along * along)
            return asin(min(sqrt(chord), 1.0)) * _EARTH_DIAMETER_KM

        return haversine

    def describe(self) -> str:
        return (
            f"Kilometres between ({self.from_latitude}, {self.from_longitude}) "
            f"and ({self.to_latitude}, {self.to_longitude})"
        )

    def say(self, value: float) -> str:
        """The distance."""
        return (
            f"({self.to_latitude}, {self.to_longitude}) is {value:.4g} km from "
            f"({self.from_latitude}, {self.from_longitude})"
        )
