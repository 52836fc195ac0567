"""Alert rules and webhooks over HTTP."""

import uuid

import pytest

from tests.fixtures import flow
from tests.fixtures.app import RunningApp

pytestmark = pytest.mark.slow

RULE = {"metric": "psi", "subject": "amount", "operator": "gte", "threshold": 0.2, "windows": 3}


def test_a_rule_is_made_changed_and_deleted(app: RunningApp) -> None:
    """By scientists; analysts read it."""
    named = {**RULE, "name": f"Amounts drift {uuid.uuid4().hex[:8]}"}
    with app.client("scientist") as client, app.client("analyst") as reader:
        made = client.post("alerts/rules", json=named)
        assert made.status_code == 201
        rule = made.json()["data"]
        changed = flow.data(client.put(f"alerts/rules/{rule['id']}", json={**named, "severity": "CRITICAL"}))
        assert changed["severity"] == "CRITICAL"
        assert flow.data(reader.get(f"alerts/rules/{rule['id']}"))["name"] == named["name"]
        assert rule["id"] in {each["id"] for each in flow.data(reader.get("alerts/rules?metric=psi&page_size=100"))}
        assert reader.put(f"alerts/rules/{rule['id']}", json=named).status_code == 403
        assert client.post("alerts/rules", json=named).status_code == 409
        refused = client.post("alerts/rules", json={**named, "metric": "psy"})
        assert refused.status_code == 422
        assert refused.json()["error"]["details"][0]["field"] == "metric"
        assert flow.data(client.delete(f"alerts/rules/{rule['id']}"))["id"] == rule["id"]
        assert reader.get(f"alerts/rules/{rule['id']}").status_code == 404


def test_a_webhook_is_made_rotated_and_deleted(app: RunningApp) -> None:
    """By administrators; the secret is shown when it is new, the path of the URL never."""
    body = {"name": f"pager {uuid.uuid4().hex[:8]}", "url": "http://127.0.0.1:9/hooks/path", "is_active": False}
    with app.client("admin") as client, app.client("scientist") as other:
        made = client.post("alerts/webhooks", json=body)
        assert made.status_code == 201
        webhook = made.json()["data"]
        assert webhook["secret"].startswith("whsec_")
        route = f"alerts/webhooks/{webhook['id']}"
        assert flow.data(client.post(f"{route}/rotate"))["secret"] != webhook["secret"]
        changed = flow.data(client.put(route, json={**body, "minimum_severity": "CRITICAL"}))
        assert (changed["secret"], changed["minimum_severity"]) == (None, "CRITICAL")
        listed = next(each for each in flow.data(client.get("alerts/webhooks")) if each["id"] == webhook["id"])
        assert listed["url"] == "http://127.0.0.1:9/…"
        assert client.post(f"{route}/test").status_code == 202
        assert len(flow.data(client.get(f"{route}/deliveries"))) == 1
        assert other.get("alerts/webhooks").status_code == 403
        assert client.post("alerts/webhooks", json={**body, "url": "ftp://127.0.0.1"}).status_code == 422
        assert flow.data(client.delete(route))["id"] == webhook["id"]
        assert client.post(f"{route}/test").status_code == 404
