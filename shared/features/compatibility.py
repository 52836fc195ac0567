"""Whether a plan may be run over a dataset, told from the plan and the dataset's columns alone."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from shared.features.inputs import FORMS
from shared.platform.errors import FieldError, InvalidContent

if TYPE_CHECKING:
    from shared.datasets.model import ColumnType, DatasetSchema
    from shared.features.plan import FeaturePlan

#: Of a plan that a caller gives; each feature is a pass over the data, each one of history another search of the past.
MOST_FEATURES: Final = 5_000
MOST_HISTORY_FEATURES: Final = 500

_RESERVED = "__"
_INSTANTS = frozenset(kind for kind, forms in FORMS.items() if "instant" in forms)
_LABELS = frozenset(FORMS) - _INSTANTS


def input_types(plan: "FeaturePlan", columns: "Mapping[str, ColumnType | None]") -> "dict[str, ColumnType]":
    """The type of each column that the plan reads.

    :param columns: the dataset's columns; ``None`` for a type that cannot become a feature.
    :raises InvalidContent: columns that are missing or of a type the plan cannot read, all at once.
    """
    errors, types = _inputs(plan, columns)
    if errors:
        raise InvalidContent("the dataset does not fit the plan", details=dict.fromkeys(errors))
    return types


def require_fit(plan: "FeaturePlan", schema: "DatasetSchema", *, target: str) -> None:
    """Refuse a dataset that ``plan``, fitted on another one, cannot be run over.

    What no feature reads (label, id, protected columns) may be absent, see :func:`absent_columns`.

    :raises InvalidContent: every column that is missing or of a wrong type, about ``target``.
    """
    columns = {column.name: column.type for column in schema.columns}
    errors, _ = _inputs(plan, columns)
    config = plan.config
    looks_at_labels = plan.layout is not None and plan.layout.uses_labels
    for role, name, allowed, needed in (
        ("time column", config.time_column, _INSTANTS, True),
        ("label column", config.label_column, _LABELS, looks_at_labels),
        ("time of the label", config.label_time_column, _INSTANTS, looks_at_labels),
    ):
        if name is None:
            continue
        if name in columns and columns[name] not in allowed:
            errors.append(FieldError(name, f"the plan's {role}; it is a {columns[name]}"))
        elif needed and name not in columns:
            why = ", and the plan looks at past labels" if looks_at_labels and role != "time column" else ""
            errors.append(FieldError(name, f"the plan's {role}{why}; the dataset has no such column"))
    if errors:
        raise InvalidContent("the dataset does not fit the plan", target=target, details=dict.fromkeys(errors))


def absent_columns(plan: "FeaturePlan", schema: "DatasetSchema") -> tuple[str, ...]:
    """Label, id and protected columns of the plan's configuration that the dataset does not have."""
    config = plan.config
    named = (config.label_column, config.label_time_column, config.id_column, *(config.protected_columns or ()))
    present = {column.name for column in schema.columns}
    return tuple(dict.fromkeys(name for name in named if name is not None and name not in present))


def require_sound(plan: "FeaturePlan", *, target: str) -> None:
    """Refuse a plan from outside that no fitting would have made, although it is a valid document.

    :raises InvalidContent: it is too large, or features read what they must not, or take names that are the table's.
    """
    errors = [*_wrong_size(plan), *_wrong_features(plan), *_wrong_history(plan)]
    if errors:
        details = [FieldError(f"{target}.{error.field}", error.message) for error in errors[:100]]
        raise InvalidContent("the plan cannot be used", target=target, details=details)


def _wrong_size(plan: "FeaturePlan") -> Iterator[FieldError]:
    if not plan.features:
        yield FieldError("features", "a plan needs at least one feature")
    for count, most, what in (
        (len(plan.features), MOST_FEATURES, "features"),
        (len(plan.history_features), MOST_HISTORY_FEATURES, "history features"),
    ):
        if count > most:
            yield FieldError("features", f"at most {most:,} {what}, not {count:,}")


def _wrong_features(plan: "FeaturePlan") -> Iterator[FieldError]:
    config = plan.config
    never = {name: "the label" for name in (config.label_column, config.label_time_column) if name}
    never |= dict.fromkeys((config.id_column,) if config.id_column else (), "the transaction's identifier")
    never |= dict.fromkeys(config.excluded_columns or (), "excluded by the plan's configuration")
    never |= dict.fromkeys(config.protected_columns or (), "protected")
    for position, feature in enumerate(plan.features):
        field = f"features.{position}"
        if feature.name.startswith(_RESERVED):
            yield FieldError(f"{field}.name", f"{feature.name}: names that begin with {_RESERVED} are reserved")
        for column in dict.fromkeys(read.column for read in feature.reads() if read.column in never):
            yield FieldError(field, f"{feature.name} reads {column!r}: {never[column]}")


def _wrong_history(plan: "FeaturePlan") -> Iterator[FieldError]:
    config, layout = plan.config, plan.layout
    if layout is None:
        return
    if layout.time_column != config.time_column:
        yield FieldError("config.time_column", "history features have another time column")
    if layout.uses_labels and config.label_column is None:
        yield FieldError("config.label_column", "features of past labels need one")
    if layout.uses_labels and config.label_time_column is None and config.label_delay_days is None:
        yield FieldError("config.label_delay_days", "features of past labels need it or label_time_column")


def _inputs(
    plan: "FeaturePlan", columns: "Mapping[str, ColumnType | None]"
) -> "tuple[list[FieldError], dict[str, ColumnType]]":
    errors: list[FieldError] = []
    types: dict[str, ColumnType] = {}
    for column in plan.inputs:
        found = columns.get(column.name)
        if column.name not in columns:
            errors.append(FieldError(column.name, "the dataset has no such column"))
        elif found != column.type and {found, column.type} != {"integer", "float"}:
            kind = found or "type that cannot be a feature"
            errors.append(FieldError(column.name, f"the plan reads a {column.type}, the dataset holds a {kind}"))
        else:
            types[column.name] = found or column.type
    for feature in plan.features:
        for name, form in feature.reads():
            if form == "category" and types.get(name) == "float":
                errors.append(FieldError(name, "the plan reads an integer category, the dataset holds a float"))
    return errors, types
