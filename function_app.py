"""The Functions app: registers blueprints, nothing else."""

import azure.durable_functions as df
import azure.functions as func

from functions.http import (
    alerts,
    audit,
    batch_scoring,
    datasets,
    documentation,
    features,
    health,
    lineage,
    models,
    reasons,
    scoring,
    training,
    unmatched,
    users,
)
from functions.orchestrations import feature_engineering
from functions.orchestrations import training as train
from functions.timers import audit as audit_head
from functions.timers import maintenance, watchdog

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

for blueprint in (
    alerts.bp,
    audit.bp,
    batch_scoring.bp,
    datasets.bp,
    documentation.bp,
    features.bp,
    health.bp,
    lineage.bp,
    models.bp,
    reasons.bp,
    scoring.bp,
    training.bp,
    unmatched.bp,
    users.bp,
    feature_engineering.bp,
    train.bp,
    audit_head.bp,
    maintenance.bp,
    watchdog.bp,
):
    app.register_functions(blueprint)
