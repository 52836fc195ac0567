"""The online executor: one transaction to one float32 vector, in plain Python. No Polars here."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.features.inputs import online_input
from shared.features.plan import FeaturePlan
from shared.platform.errors import FieldError, InvalidContent

_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


class OnlinePlan:
    """A plan made ready for single transactions; immutable and safe to share between threads."""

    __slots__ = ("_functions", "_readers", "feature_names")

    def __init__(self, plan: FeaturePlan) -> None:
        types = {column.name: column for column in plan.inputs}
        reads = plan.reads()
        slots = {read: position for position, read in enumerate(reads)}
        self.feature_names: Final = plan.feature_names
        self._readers: Final[list[tuple[str, Callable[[Any], Any], bool]]] = [
            (column, online_input(form, types[column].type), types[column].required) for column, form in reads
        ]
        self._functions: Final = [feature.online(slots) for feature in plan.features]

    def vector(self, transaction: Mapping[str, Any]) -> NDArray[np.float32]:
        """The features of ``transaction``, shape ``(n_features,)``, NaN where missing.

        Fields that the plan does not read are ignored; absent and ``null`` fields are missing.

        :raises InvalidContent: a required field is missing or a value has the wrong type; ``details`` names each.
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
        features = np.array([function(values) for function in self._functions], dtype=np.float64)
        np.minimum(features, _FLOAT32_MAX, out=features)
        np.maximum(features, -_FLOAT32_MAX, out=features)
        return features.astype(np.float32)

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


def compile_plan(plan: FeaturePlan) -> OnlinePlan:
    """Prepare ``plan`` for scoring; done once a model, costs microseconds a feature."""
    return OnlinePlan(plan)
