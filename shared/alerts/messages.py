"""What webhooks are told of an alert: the body of a message, with an e-mail that is ready to send."""

from datetime import datetime
from enum import StrEnum
from html import escape
from typing import Any

from shared.alerts.model import Alert


class Event(StrEnum):
    """What has happened."""

    OPENED = "alert.opened"
    ESCALATED = "alert.escalated"
    ACKNOWLEDGED = "alert.acknowledged"
    RESOLVED = "alert.resolved"
    DISMISSED = "alert.dismissed"
    TEST = "webhook.test"


def message(alert: Alert, event: Event, at: datetime) -> dict[str, Any]:
    """``type``, ``timestamp`` and ``data`` as Standard Webhooks names them, and ``email``."""
    return {
        "type": event.value,
        "timestamp": at.isoformat(),
        "data": alert.model_dump(mode="json", exclude={"acknowledged_by", "resolved_by"}),
        "email": _email(alert, event),
    }


def test_message(name: str, at: datetime) -> dict[str, Any]:
    """A message that tells nothing, to see whether it arrives."""
    return {"type": Event.TEST.value, "timestamp": at.isoformat(), "data": {"webhook": name}}


def _email(alert: Alert, event: Event) -> dict[str, str]:
    verb = event.value.removeprefix("alert.")
    facts = {
        "Severity": alert.severity.value,
        "Status": alert.status.value,
        "Source": f"{alert.source_type.value}, {alert.alert_type}",
        "Model": str(alert.model_id) if alert.model_id else "none",
        "First seen": f"{alert.created_at:%Y-%m-%d %H:%M} UTC",
        "Occurrences": str(alert.occurrences),
        "Notes": alert.resolution_notes or "",
        "Alert": str(alert.id),
    }
    known = {name: value for name, value in facts.items() if value}
    text = "\n".join([alert.description or "", "", *(f"{name}: {value}" for name, value in known.items())])
    rows = "".join(f"<tr><th align=left>{name}</th><td>{escape(value)}</td></tr>" for name, value in known.items())
    return {
        "subject": f"[{alert.severity.value}] {alert.title} ({verb})".replace("\r", " ").replace("\n", " "),
        "text": text.strip(),
        "html": f"<p>{escape(alert.description or '')}</p><table>{rows}</table>",
    }
