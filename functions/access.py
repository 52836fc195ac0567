"""Who may call what: the one table of routes and roles.

The endpoint decorator refuses to register a route that is not here, and a test refuses an entry that no route uses.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shared.users.model import Role

Access = frozenset[Role] | None

PUBLIC: Final[Access] = None
ADMINS: Final = frozenset({Role.ADMIN})
SCIENTISTS: Final = ADMINS | {Role.SCIENTIST}
EVERYONE: Final = SCIENTISTS | {Role.ANALYST}
SCORERS: Final = EVERYONE | {Role.MACHINE}

ROUTES: Final[Mapping[tuple[str, str], Access]] = MappingProxyType(
    {
        ("GET", "health/live"): PUBLIC,
        ("GET", "health/ready"): PUBLIC,
        ("GET", "openapi.json"): PUBLIC,
        ("GET", "docs"): PUBLIC,
        ("POST", "predict"): SCORERS,
        ("POST", "predict/explain"): SCORERS,
        ("POST", "predict/batch"): SCORERS,
        ("GET", "reason-codes"): SCORERS,
        ("GET", "scoring/jobs"): EVERYONE,
        ("POST", "scoring/jobs"): SCIENTISTS,
        ("GET", "scoring/jobs/{job_id:guid}"): EVERYONE,
        ("GET", "scoring/jobs/{job_id:guid}/result"): EVERYONE,
        ("POST", "scoring/jobs/{job_id:guid}/cancel"): SCIENTISTS,
        ("GET", "predictions/{prediction_id:guid}"): EVERYONE,
        ("GET", "predictions"): EVERYONE,
        ("POST", "predictions/labels"): EVERYONE,
        ("GET", "predictions/{prediction_id:guid}/labels"): EVERYONE,
        ("GET", "datasets"): EVERYONE,
        ("POST", "datasets"): SCIENTISTS,
        ("POST", "datasets/uploads"): SCIENTISTS,
        ("GET", "datasets/{dataset_id:guid}"): EVERYONE,
        ("GET", "datasets/{dataset_id:guid}/schema"): EVERYONE,
        ("GET", "datasets/{dataset_id:guid}/statistics"): EVERYONE,
        ("GET", "datasets/{dataset_id:guid}/quality"): EVERYONE,
        ("GET", "datasets/{dataset_id:guid}/preview"): EVERYONE,
        ("GET", "datasets/{dataset_id:guid}/versions"): EVERYONE,
        ("POST", "datasets/{dataset_id:guid}/versions"): SCIENTISTS,
        ("DELETE", "datasets/{dataset_id:guid}"): SCIENTISTS,
        ("POST", "datasets/{dataset_id:guid}/restore"): SCIENTISTS,
        ("POST", "features/compute"): SCIENTISTS,
        ("GET", "features/schema"): EVERYONE,
        ("GET", "features/sets"): EVERYONE,
        ("GET", "features/sets/{feature_set_id:guid}"): EVERYONE,
        ("GET", "features/sets/{feature_set_id:guid}/elimination"): EVERYONE,
        ("GET", "features/sets/{feature_set_id:guid}/plan"): EVERYONE,
        ("GET", "features/sets/{feature_set_id:guid}/ranking"): EVERYONE,
        ("GET", "features/sets/{feature_set_id:guid}/preview"): EVERYONE,
        ("GET", "training/algorithms"): EVERYONE,
        ("GET", "training/jobs"): EVERYONE,
        ("POST", "training/jobs"): SCIENTISTS,
        ("GET", "training/jobs/{job_id:guid}"): EVERYONE,
        ("POST", "training/jobs/{job_id:guid}/cancel"): SCIENTISTS,
        ("GET", "models"): EVERYONE,
        ("GET", "models/production"): EVERYONE,
        ("GET", "models/compare"): EVERYONE,
        ("GET", "models/{model_id:guid}"): EVERYONE,
        ("GET", "models/{model_id:guid}/metrics"): EVERYONE,
        ("GET", "models/{model_id:guid}/report"): EVERYONE,
        ("GET", "models/{model_id:guid}/history"): EVERYONE,
        ("GET", "models/{model_id:guid}/baselines"): EVERYONE,
        ("POST", "models/{model_id:guid}/baselines"): SCIENTISTS,
        ("GET", "models/{model_id:guid}/champion-rules"): EVERYONE,
        ("POST", "models/{model_id:guid}/champion-rules"): SCIENTISTS,
        ("GET", "models/{model_id:guid}/lineage"): EVERYONE,
        ("GET", "datasets/{dataset_id:guid}/lineage"): EVERYONE,
        ("GET", "features/sets/{feature_set_id:guid}/lineage"): EVERYONE,
        ("GET", "models/challengers"): EVERYONE,
        ("POST", "models/{model_id:guid}/challenge"): SCIENTISTS,
        ("DELETE", "models/{model_id:guid}/challenge"): SCIENTISTS,
        ("GET", "models/{model_id:guid}/shadow-report"): EVERYONE,
        ("POST", "models/{model_id:guid}/promote"): SCIENTISTS,
        ("POST", "models/{model_id:guid}/rollback"): SCIENTISTS,
        ("POST", "models/{model_id:guid}/archive"): SCIENTISTS,
        ("POST", "monitoring/drift/compute"): SCIENTISTS,
        ("GET", "monitoring/drift"): EVERYONE,
        ("GET", "monitoring/drift/features"): EVERYONE,
        ("GET", "models/{model_id:guid}/drift-report"): EVERYONE,
        ("POST", "retraining/trigger"): SCIENTISTS,
        ("GET", "retraining/jobs"): EVERYONE,
        ("GET", "retraining/jobs/{job_id:guid}"): EVERYONE,
        ("POST", "retraining/jobs/{job_id:guid}/promote"): SCIENTISTS,
        ("POST", "retraining/jobs/{job_id:guid}/reject"): SCIENTISTS,
        ("POST", "retraining/jobs/{job_id:guid}/cancel"): SCIENTISTS,
        ("GET", "alerts"): EVERYONE,
        ("GET", "alerts/rules"): EVERYONE,
        ("POST", "alerts/rules"): SCIENTISTS,
        ("GET", "alerts/rules/{rule_id:guid}"): EVERYONE,
        ("PUT", "alerts/rules/{rule_id:guid}"): SCIENTISTS,
        ("DELETE", "alerts/rules/{rule_id:guid}"): SCIENTISTS,
        ("GET", "alerts/webhooks"): ADMINS,
        ("POST", "alerts/webhooks"): ADMINS,
        ("PUT", "alerts/webhooks/{webhook_id:guid}"): ADMINS,
        ("DELETE", "alerts/webhooks/{webhook_id:guid}"): ADMINS,
        ("POST", "alerts/webhooks/{webhook_id:guid}/rotate"): ADMINS,
        ("POST", "alerts/webhooks/{webhook_id:guid}/test"): ADMINS,
        ("GET", "alerts/webhooks/{webhook_id:guid}/deliveries"): ADMINS,
        ("GET", "alerts/{alert_id:guid}"): EVERYONE,
        ("POST", "alerts/{alert_id:guid}/acknowledge"): EVERYONE,
        ("POST", "alerts/{alert_id:guid}/resolve"): EVERYONE,
        ("POST", "alerts/{alert_id:guid}/dismiss"): EVERYONE,
        ("GET", "users"): ADMINS,
        ("GET", "users/me"): EVERYONE,
        ("PATCH", "users/{user_id:guid}"): ADMINS,
        ("GET", "audit-logs"): ADMINS,
    }
)
