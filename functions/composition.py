"""The one place where services get their dependencies; built lazily, once a worker.

Nothing is imported before a request needs it: a worker that only scores never loads what only training uses.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from shared.platform.clock import utc_now
from shared.platform.settings import Settings, get_settings
from shared.platform.telemetry import configure_logging, start_exporting

if TYPE_CHECKING:
    from shared.alerts.rule_service import RuleService
    from shared.alerts.service import AlertService
    from shared.alerts.webhook_service import WebhookService
    from shared.archiving.service import ArchiveService
    from shared.audit.denials import DenialLog
    from shared.audit.service import AuditService
    from shared.datasets.lifecycle import DatasetLifecycle
    from shared.datasets.service import DatasetService
    from shared.features.service import FeatureService
    from shared.idempotency.service import IdempotencyService
    from shared.labels.service import LabelService
    from shared.monitoring.bias_service import BiasService
    from shared.monitoring.drift_service import DriftService
    from shared.monitoring.folding import FoldService
    from shared.monitoring.performance_service import PerformanceService
    from shared.monitoring.reference import References
    from shared.monitoring.report.service import DriftReportService
    from shared.monitoring.windows import Windows
    from shared.platform.blobs import BlobStore
    from shared.platform.database import Database
    from shared.platform.identity import TokenVerifier
    from shared.registry.promotion import PromotionService
    from shared.registry.service import RegistryService
    from shared.retraining.service import RetrainingService
    from shared.scoring.jobs.service import ScoringJobService
    from shared.scoring.service import ScoringService
    from shared.scoring.shadow.service import ShadowService
    from shared.training.report.service import ReportService
    from shared.training.service import TrainingService
    from shared.users.service import UserService


class Services:
    """Everything a trigger may call."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.exporting: asyncio.Task[None] | None = None

    @cached_property
    def database(self) -> "Database":
        """The worker's connection pool."""
        from shared.platform.database import Database

        return Database.from_settings(self.settings)

    @cached_property
    def blobs(self) -> "BlobStore":
        """The app's blob container."""
        from shared.platform.blobs import BlobStore

        return BlobStore.from_settings(self.settings)

    @cached_property
    def tokens(self) -> "TokenVerifier":
        """Verifies bearer tokens."""
        from shared.platform.identity import TokenVerifier

        return TokenVerifier(
            issuer=self.settings.oidc_issuer,
            audience=self.settings.oidc_audience,
            jwks_url=self.settings.oidc_jwks_url,
        )

    @cached_property
    def users(self) -> "UserService":
        """Sign-in and roles."""
        from shared.users.service import UserService

        return UserService(self.database, utc_now, bootstrap_admins=self.settings.bootstrap_admins)

    @cached_property
    def audit(self) -> "AuditService":
        """The audit log."""
        from shared.audit.service import AuditService

        return AuditService(self.database)

    @cached_property
    def audit_heads(self) -> "BlobStore | None":
        """The container that keeps the heads of the audit log, if there is one."""
        from shared.platform.blobs import BlobStore

        container = self.settings.audit_container
        return None if container is None else BlobStore.from_settings(self.settings, container)

    @cached_property
    def idempotency(self) -> "IdempotencyService":
        """Requests that come with a key."""
        from shared.idempotency.service import IdempotencyService

        return IdempotencyService(self.database)

    @cached_property
    def denials(self) -> "DenialLog":
        """The attempts that this worker refused."""
        from shared.audit.denials import DenialLog

        return DenialLog(self.database, utc_now)

    @cached_property
    def alerts(self) -> "AlertService":
        """What somebody should look at."""
        from shared.alerts.service import AlertService

        return AlertService(self.database, utc_now)

    @cached_property
    def alert_rules(self) -> "RuleService":
        """Limits that people set on figures of monitoring."""
        from shared.alerts.rule_service import RuleService

        return RuleService(self.database, utc_now)

    @cached_property
    def webhooks(self) -> "WebhookService":
        """Where alerts are sent."""
        from shared.alerts.webhook_service import WebhookService

        key = self.settings.webhook_signing_key
        return WebhookService(
            self.database,
            self.alerts,
            utc_now,
            signing_key=None if key is None else key.get_secret_value(),
            allow_private=self.settings.webhook_allow_private,
        )

    @cached_property
    def datasets(self) -> "DatasetService":
        """The dataset registry."""
        from shared.datasets.model import DatasetLimits
        from shared.datasets.service import DatasetService

        limits = DatasetLimits(
            body_bytes=self.settings.max_upload_bytes,
            direct_bytes=self.settings.max_direct_upload_bytes,
            rows=self.settings.max_dataset_rows,
            columns=self.settings.max_dataset_columns,
            cell_bytes=self.settings.max_dataset_cell_bytes,
        )
        return DatasetService(self.database, self.blobs, utc_now, limits)

    @cached_property
    def dataset_lifecycle(self) -> "DatasetLifecycle":
        """The end of datasets."""
        from shared.datasets.lifecycle import DatasetLifecycle

        return DatasetLifecycle(self.database, self.blobs, utc_now)

    @cached_property
    def features(self) -> "FeatureService":
        """Feature sets."""
        from shared.features.service import FeatureService

        return FeatureService(self.database, self.blobs, utc_now, rows_at_once=self.settings.feature_rows_at_once)

    @cached_property
    def training(self) -> "TrainingService":
        """Training jobs."""
        from shared.training.service import TrainingService

        return TrainingService(
            self.database,
            self.blobs,
            utc_now,
            concurrency=self.settings.training_concurrency,
            history_retention=timedelta(days=self.settings.history_retention_days),
            dask_scheduler=self.settings.dask_scheduler_address,
        )

    @cached_property
    def registry(self) -> "RegistryService":
        """Models, what they must meet, and where they come from."""
        from shared.registry.service import RegistryService

        return RegistryService(self.database)

    @cached_property
    def promotions(self) -> "PromotionService":
        """Moves models through their life."""
        from shared.registry.promotion import PromotionService

        return PromotionService(self.database, self.blobs)

    @cached_property
    def retraining(self) -> "RetrainingService":
        """Trains models again."""
        from shared.retraining.model import RetrainingLimits
        from shared.retraining.service import RetrainingService

        limits = RetrainingLimits(
            cool_down=timedelta(hours=self.settings.retraining_cool_down_hours),
            weekly_budget=self.settings.retraining_weekly_budget,
            maturity_days=self.settings.label_maturity_days,
            minimum_labels=self.settings.retraining_minimum_labels,
            minimum_frauds=self.settings.retraining_minimum_frauds,
        )
        return RetrainingService(
            self.database,
            self.blobs,
            utc_now,
            registry=self.registry,
            promotions=self.promotions,
            datasets=self.datasets,
            features=self.features,
            training=self.training,
            limits=limits,
        )

    @cached_property
    def reports(self) -> "ReportService":
        """Training reports."""
        from shared.training.report.service import ReportService

        return ReportService(self.registry, self.blobs)

    @cached_property
    def scoring(self) -> "ScoringService":
        """Scores and explains transactions."""
        from shared.scoring.service import ScoringService

        return ScoringService(
            self.database,
            self.blobs,
            self.registry,
            self.alerts,
            utc_now,
            explain_always=self.settings.explain_always,
            lanes=self.settings.scoring_lanes,
            queue_size=self.settings.scoring_queue_size,
            deadline_seconds=self.settings.scoring_deadline_seconds,
            history_retention=timedelta(days=self.settings.history_retention_days),
            duplicate_window=timedelta(hours=self.settings.duplicate_window_hours),
        )

    @cached_property
    def archives(self) -> "ArchiveService":
        """Months of predictions past their retention."""
        from shared.archiving.service import ArchiveService

        months = self.settings.prediction_retention_months
        return ArchiveService(self.database, self.blobs, self.alerts, utc_now, retention_months=months)

    @cached_property
    def labels(self) -> "LabelService":
        """What turned out to be fraud."""
        from shared.labels.service import LabelService

        retention = timedelta(days=self.settings.history_retention_days)
        return LabelService(self.database, self.scoring, utc_now, history_retention=retention)

    @cached_property
    def scoring_jobs(self) -> "ScoringJobService":
        """Scores whole files."""
        from shared.scoring.jobs.service import ScoringJobService

        scoring = self.scoring
        return ScoringJobService(self.database, self.blobs, self.datasets, scoring.models, scoring.history, utc_now)

    @cached_property
    def shadow(self) -> "ShadowService":
        """Challengers of the model in production."""
        from shared.scoring.shadow.service import ShadowService

        scoring = self.scoring
        retention = timedelta(days=self.settings.shadow_retention_days)
        return ShadowService(
            self.database,
            self.registry,
            scoring.models,
            scoring.history,
            self.alerts,
            utc_now,
            retention=retention,
        )

    @cached_property
    def references(self) -> "References":
        """What predictions are compared with."""
        from shared.monitoring.reference import References

        return References(self.registry, self.blobs)

    @cached_property
    def windows(self) -> "Windows":
        """Sums of what was predicted."""
        from shared.monitoring.windows import Windows

        return Windows(self.database)

    @cached_property
    def folding(self) -> "FoldService":
        """Counts predictions and labels."""
        from shared.monitoring.folding import FoldService

        return FoldService(self.database, self.references, self.alerts, utc_now)

    @cached_property
    def drift(self) -> "DriftService":
        """Drift of inputs, scores and decisions."""
        from shared.monitoring.drift import DriftPolicy, Limits
        from shared.monitoring.drift_service import DriftService
        from shared.monitoring.model import ReferenceKind

        settings, policy = self.settings, DriftPolicy()
        limits = {name: Limits(*pair) for name, pair in settings.drift_limits.items()}
        return DriftService(
            self.database,
            self.registry,
            self.references,
            self.windows,
            self.folding,
            self.alerts,
            self.alert_rules,
            utc_now,
            window_hours=sorted(int(hours) for hours in settings.drift_window_hours),
            reference=ReferenceKind(settings.drift_reference),
            policy=replace(policy, min_rows=settings.drift_min_rows, limits={**policy.limits, **limits}),
        )

    @cached_property
    def bias(self) -> "BiasService":
        """Whether groups are treated alike."""
        from shared.monitoring.bias_service import BiasService

        return BiasService(
            self.database,
            self.registry,
            self.references,
            self.windows,
            self.folding,
            self.alerts,
            self.alert_rules,
            utc_now,
            window=timedelta(days=self.settings.bias_window_days),
            maturity=timedelta(days=self.settings.label_maturity_days),
        )

    @cached_property
    def performance(self) -> "PerformanceService":
        """How models do."""
        from shared.monitoring.performance_service import PerformanceService

        return PerformanceService(
            self.database,
            self.registry,
            self.references,
            self.windows,
            self.folding,
            self.alerts,
            self.alert_rules,
            utc_now,
            window=timedelta(days=self.settings.performance_window_days),
            maturity=timedelta(days=self.settings.label_maturity_days),
            latency_limit_ms=self.settings.latency_p99_limit_ms,
            error_limit=self.settings.error_rate_limit,
        )

    @cached_property
    def drift_reports(self) -> "DriftReportService":
        """Drift as a page."""
        from shared.monitoring.report.service import DriftReportService

        return DriftReportService(self.drift)


_services: Services | None = None
_building = asyncio.Lock()


async def get_services() -> Services:
    """The worker's services; the first call reads the settings and opens the connection pool."""
    global _services  # one per worker, by definition
    if _services is not None:
        return _services
    async with _building:
        if _services is None:
            settings = get_settings()
            configure_logging(settings.log_level)
            services = Services(settings)
            await services.database.open()
            if settings.applicationinsights_connection_string is not None:
                secret = settings.applicationinsights_connection_string.get_secret_value()
                services.exporting = asyncio.create_task(asyncio.to_thread(start_exporting, secret))
            _services = services
    return _services
