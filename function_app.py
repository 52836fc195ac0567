"""The Functions app: registers blueprints, nothing else."""

import azure.durable_functions as df
import azure.functions as func

from functions.http import (
    alert_rules,
    alert_webhooks,
    alerts,
    audit,
    batch_scoring,
    bias,
    dataset_versions,
    datasets,
    documentation,
    features,
    health,
    labels,
    lineage,
    models,
    monitoring,
    performance,
    promotions,
    reasons,
    retraining,
    scoring,
    scoring_jobs,
    shadow,
    training,
    unmatched,
    users,
)
from functions.orchestrations import feature_engineering
from functions.orchestrations import retraining as retrain
from functions.orchestrations import scoring_jobs as score_files
from functions.orchestrations import training as train
from functions.timers import archiving, maintenance, watchdog, webhooks
from functions.timers import audit as audit_head
from functions.timers import bias as bias_timers
from functions.timers import drift as drift_timers
from functions.timers import labels as label_timers
from functions.timers import performance as performance_timers
from functions.timers import retraining as retraining_timers
from functions.timers import shadow as shadow_timers

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)

for blueprint in (
    alert_rules.bp,
    alert_webhooks.bp,
    alerts.bp,
    audit.bp,
    batch_scoring.bp,
    bias.bp,
    datasets.bp,
    dataset_versions.bp,
    documentation.bp,
    features.bp,
    health.bp,
    labels.bp,
    lineage.bp,
    models.bp,
    monitoring.bp,
    performance.bp,
    promotions.bp,
    reasons.bp,
    retraining.bp,
    scoring.bp,
    scoring_jobs.bp,
    shadow.bp,
    training.bp,
    unmatched.bp,
    users.bp,
    feature_engineering.bp,
    score_files.bp,
    retrain.bp,
    train.bp,
    archiving.bp,
    audit_head.bp,
    label_timers.bp,
    bias_timers.bp,
    drift_timers.bp,
    maintenance.bp,
    shadow_timers.bp,
    watchdog.bp,
    performance_timers.bp,
    retraining_timers.bp,
    webhooks.bp,
):
    app.register_functions(blueprint)
