"""What is made of a window that was looked at: rows to keep, alerts to raise or to clear, and an answer."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from shared.alerts.model import Severity, Signal, Source
from shared.monitoring.drift import ColumnDrift, Kind, WindowDrift
from shared.monitoring.drift_repository import NewFigure
from shared.monitoring.level import Level
from shared.monitoring.model import DriftColumn, DriftFigure, DriftWindow, ReferenceKind, window_status
from shared.monitoring.reference import Reference
from shared.monitoring.windows import Span

_NAMED: Final = 5  # columns that an alert names


def figures_of(found: WindowDrift, min_rows: int) -> list[NewFigure]:
    """The rows of ``drift_metrics`` of a window.

    Every window has its number of rows, with the least that says anything as threshold. Scores and decisions are DATA,
    inputs are FEATURE. ``severity`` is what a drifted column's window says by itself: 1 WARNING, 2 CRITICAL.
    """
    rows = [NewFigure(uuid4(), "DATA", None, "rows", float(found.rows), Level.OK, float(min_rows))]
    if not found.enough:
        return rows
    share = found.drifted_share
    rows.append(NewFigure(uuid4(), "DATA", None, share.metric, share.value, found.level, share.threshold))
    for column in found.columns:
        kind = "DATA" if column.kind in (Kind.SCORE, Kind.DECISION) else "FEATURE"
        name = column.name[:100]
        rows += [
            NewFigure(uuid4(), kind, name, each.metric, each.value, each.level, each.threshold)
            for each in column.figures
        ]
        if column.seen is not Level.OK:
            rows.append(NewFigure(uuid4(), kind, name, "severity", float(column.seen.rank), column.level, None))
    return rows


def signals(reference: Reference, span: Span, found: WindowDrift) -> list[tuple[Signal | None, str]]:
    """What to report and, without a signal, what to clear: the whole (DATA) and single inputs (FEATURE)."""
    hours = int((span[1] - span[0]) / timedelta(hours=1))
    outputs = [c for c in found.columns if c.kind in (Kind.SCORE, Kind.DECISION) and c.level is not Level.OK]
    inputs = [c for c in found.columns if c.kind not in (Kind.SCORE, Kind.DECISION) and c.level is not Level.OK]
    inputs.sort(key=_weight, reverse=True)
    worst_input = max((column.level for column in inputs), key=lambda level: level.rank, default=Level.OK)
    share = f"{found.drifted_share.value:.0%} of the features' importance has drifted"
    told = f"{share}; {_named_columns(outputs)}" if outputs else share
    told_inputs = f"of {len(found.columns) - 2} columns: {_named_columns(inputs)}"
    return [
        _signal(reference, span, found, "DATA_DRIFT", found.level, told, f"drift:data:{hours}h:{reference.model_id}"),
        _signal(
            reference, span, found, "FEATURE_DRIFT", worst_input, told_inputs,
            f"drift:feature:{hours}h:{reference.model_id}",
        ),
    ]  # fmt: skip


def _signal(
    reference: Reference, span: Span, found: WindowDrift, alert_type: str, level: Level, told: str, cause: str
) -> tuple[Signal | None, str]:
    if level is Level.OK:
        return None, cause
    what = "Data" if alert_type == "DATA_DRIFT" else "Inputs"
    return (
        Signal(
            cause=cause,
            source=Source.DRIFT,
            alert_type=alert_type,
            severity=Severity.CRITICAL if level is Level.CRITICAL else Severity.WARNING,
            title=f"{what} of model {reference.name} {reference.version} drifted",
            description=f"From {span[0].isoformat()} to {span[1].isoformat()}, {found.rows:,} predictions: {told}.",
            details={
                "window_start": span[0].isoformat(),
                "window_end": span[1].isoformat(),
                "rows": found.rows,
                "drifted_share": round(found.drifted_share.value, 4),
                "columns": [column.name for column in found.columns if column.level is not Level.OK][:50],
            },
            model_id=reference.model_id,
        ),
        cause,
    )


def _named_columns(columns: Sequence[ColumnDrift]) -> str:
    shown = []
    for column in columns[:_NAMED]:
        passed = next((each for each in column.figures if each.level is column.level), column.figures[0])
        shown.append(f"{column.name} ({passed.metric} {passed.value:.3g})")
    more = len(columns) - _NAMED
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _weight(column: ColumnDrift) -> tuple[int, float, float]:
    return column.seen.rank, column.importance, column.value("psi") or 0.0


def shown(
    model_id: UUID,
    span: Span,
    kind: ReferenceKind,
    compared: tuple[datetime | None, datetime | None],
    found: WindowDrift,
    min_rows: int,
    until: datetime,
) -> DriftWindow:
    return DriftWindow(
        model_id=model_id,
        window_start=span[0],
        window_end=span[1],
        reference=kind,
        reference_window_start=compared[0],
        reference_window_end=compared[1],
        status=window_status(found),
        rows=found.rows,
        reference_rows=found.reference_rows,
        min_rows=min_rows,
        drifted_share=found.drifted_share.value,
        counted_until=until,
        columns=[
            DriftColumn(
                name=column.name,
                kind=column.kind,
                status=column.level,
                importance=column.importance,
                q=column.q,
                figures=[
                    DriftFigure(
                        metric=each.metric, value=each.value, status=each.level, threshold=each.threshold,
                        bound=each.bound,
                    )
                    for each in column.figures
                ],
            )
            for column in sorted(found.columns, key=_weight, reverse=True)
        ],
    )  # fmt: skip
