"""Protected attributes over HTTP."""

from uuid import uuid4

from tests.fixtures import flow
from tests.fixtures.app import RunningApp


def test_an_attribute_is_protected_changed_and_listed(app: RunningApp) -> None:
    """By a scientist; whoever reads sees it at once, and a second one of its name is refused."""
    name = f"gender {uuid4().hex[:8]}"
    settings = {
        "attribute_name": name,
        "column_name": "gender",
        "groups": ["F", "M"],
        "thresholds": {"disparate_impact_min": 0.8},
        "description": "as the customer gave it",
    }
    with app.client("scientist") as scientist, app.client("analyst") as analyst:
        made = flow.data(scientist.post("bias/protected-attributes", json=settings))
        assert scientist.post("bias/protected-attributes", json=settings).status_code == 409
        path = f"bias/protected-attributes/{made['id']}"
        changed = flow.data(scientist.put(path, json={**settings, "is_active": False}))
        assert (made["is_active"], changed["is_active"]) == (True, False)
        assert changed in flow.data(analyst.get("bias/protected-attributes"))
        assert analyst.put(path, json=settings).status_code == 403


def test_an_audit_needs_a_model(app: RunningApp) -> None:
    """One that is not there is not found."""
    with app.client("scientist") as scientist:
        assert scientist.post("bias/audit", json={"model_id": str(uuid4())}).status_code == 404
