"""The online executor: one transaction to one float32 vector, in plain Python. No Polars here."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.features.history.events import Entity, Event, EventEncoder, EventLayout, Ints, fixed_point
from shared.features.history.specs import HistorySpec
from shared.features.history.window import ONLINE, EntityHistory, Past
from shared.features.inputs import FORMS, Form, Read, online_input
from shared.features.kinds.base import NAN
from shared.features.kinds.behavioural import history_read
from shared.features.plan import FeaturePlan, InputColumn
from shared.platform.errors import FieldError, InvalidContent

_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


class OnlinePlan:
    """A plan made ready for single transactions; immutable and safe to share between threads."""

    __slots__ = ("_encoder", "_functions", "_past", "_readers", "feature_names", "layout")

    def __init__(self, plan: FeaturePlan) -> None:
        types = {column.name: column for column in plan.inputs}
        reads = plan.reads()
        slots = {read: position for position, read in enumerate(reads)}
        self.feature_names: Final = plan.feature_names
        self._readers: Final[list[tuple[str, Callable[[Any], Any], bool]]] = [
            (column, online_input(form, types[column].type), types[column].required) for column, form in reads
        ]
        self.layout: Final = plan.layout
        self._past: Final = None if plan.layout is None else _PastReader(plan, plan.layout, slots)
        self._encoder: Final = None if plan.layout is None else _encoder(plan.layout, types)
        slots |= {history_read(feature.name): len(reads) + n for n, feature in enumerate(plan.history_features)}
        self._functions: Final = [feature.online(slots) for feature in plan.features]

    def vector(
        self, transaction: Mapping[str, Any], history: Mapping[Entity, EntityHistory] | None = None
    ) -> NDArray[np.float32]:
        """The features of ``transaction``, shape ``(n_features,)``, NaN where missing.

        Fields that the plan does not read are ignored; absent and ``null`` fields are missing.

        :param history: what the transaction's keys (:meth:`event`) have in their past, one entry for each key that is
            not missing; needed exactly when the plan has a ``layout``.
        :raises InvalidContent: a required field is missing or a value has the wrong type; ``details`` names each. Or
            the plan looks at the past and there is no ``history``.
        """
        values: list[Any] = []
        get = transaction.get
        try:
            for column, read, required in self._readers:
                value = get(column)
                if value is not None:
                    value = read(value)
                elif required:
                    raise ValueError("is required")
                values.append(value)
        except ValueError:
            raise self._refusal(transaction) from None
        if self._past is not None:
            if history is None:
                raise InvalidContent("the model looks at past transactions, and none were read for this one")
            values += self._past.features(values, history)
        features = np.array([function(values) for function in self._functions], dtype=np.float64)
        np.minimum(features, _FLOAT32_MAX, out=features)
        np.maximum(features, -_FLOAT32_MAX, out=features)
        return features.astype(np.float32)

    def event(self, transaction: Mapping[str, Any], transaction_id: str | None = None) -> Event:
        """What history keeps of ``transaction``, and under which keys.

        :param transaction_id: stands in where the transaction holds no id.
        :raises InvalidContent: a value has the wrong type.
        :raises ValueError: the plan has no ``layout``.
        """
        if self._encoder is None:
            raise ValueError("the plan does not look at past transactions")
        try:
            return self._encoder.encode(transaction, transaction_id)
        except ValueError:
            raise self._refusal(transaction) from None

    def _refusal(self, transaction: Mapping[str, Any]) -> InvalidContent:
        """Every field at fault, each once; only built when there is one."""
        errors: dict[str, FieldError] = {}
        for column, read, required in self._readers:
            value = transaction.get(column)
            try:
                if value is not None:
                    read(value)
                elif required:
                    raise ValueError("is required")
            except ValueError as refusal:
                errors.setdefault(column, FieldError(column, str(refusal)))
        return InvalidContent("the transaction does not fit the model's features", details=errors.values())


class _PastReader:
    """The history features of a plan, computed from values that have been read and histories."""

    __slots__ = ("_entities", "_numbers", "_specs", "_time")

    def __init__(self, plan: FeaturePlan, layout: EventLayout, slots: Mapping[Read, int]) -> None:
        self._time: Final = slots[Read(layout.time_column, "instant")]
        self._numbers: Final = [(slots[Read(name, "number")], decimals) for name, decimals in layout.numbers]
        specs = [feature.spec(layout) for feature in plan.history_features]
        self._specs: Final = [(spec.entity, ONLINE[spec.function], spec) for spec in specs]
        self._entities: Final = [
            (entity, [slots[Read(column, "category")] for column in entity], _windows(specs, entity))
            for entity in layout.entities
        ]

    def features(self, values: list[Any], history: Mapping[Entity, EntityHistory]) -> list[float]:
        """One number a history feature, in plan order; NaN where the time or a part of the key is missing."""
        now = values[self._time]
        if now is None:
            return [NAN] * len(self._specs)
        numbers = tuple(fixed_point(values[slot], decimals) for slot, decimals in self._numbers)
        pasts: dict[Entity, Past] = {}
        for entity, slots, windows in self._entities:
            if None not in [values[slot] for slot in slots]:
                if entity not in history:
                    raise ValueError(f"no history was read for {entity}")
                pasts[entity] = Past(history[entity], now, windows, numbers)
        get = pasts.get
        return [
            function(past, spec) if (past := get(entity)) is not None else NAN for entity, function, spec in self._specs
        ]


def _windows(specs: Iterable[HistorySpec], entity: Entity) -> Ints:
    """The spans that features of ``entity`` look at, each once."""
    spans = {span for spec in specs if spec.entity == entity for span in (spec.window_us, spec.baseline_us) if span}
    return np.array(sorted(spans), np.int64)


def _encoder(layout: EventLayout, types: Mapping[str, InputColumn]) -> EventEncoder:
    def reader(form: Form) -> Callable[[str, Mapping[str, Any]], Any]:
        readers = {
            name: online_input(form, column.type) for name, column in types.items() if form in FORMS[column.type]
        }

        def read(name: str, transaction: Mapping[str, Any]) -> Any:
            value = transaction.get(name)
            return None if value is None else readers[name](value)

        return read

    return EventEncoder(layout, reader("number"), reader("category"), reader("instant"))


def compile_plan(plan: FeaturePlan) -> OnlinePlan:
    """Prepare ``plan`` for scoring; done once a model, costs microseconds a feature."""
    return OnlinePlan(plan)
