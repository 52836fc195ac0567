"""Every setting of the app, read once from the environment (``local.settings.json`` or the Function App's settings)."""

import json
from functools import cache
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

CommaSeparated = Annotated[frozenset[str], NoDecode]


class Settings(BaseSettings):
    """The app's configuration. Names in the environment are these names in capitals."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr = Field(
        description="postgresql://user[:password]@host:port/database. Without a password an Entra token is used."
    )
    database_pool_size: int = Field(20, ge=1, le=200, description="Connections a worker may keep open.")
    database_max_overflow: int = Field(10, ge=0, le=200, description="Connections beyond the pool in a burst.")
    database_pool_recycle_seconds: int = Field(3600, ge=60, description="Age at which a connection is replaced.")
    database_pool_timeout_seconds: float = Field(5.0, gt=0, description="Longest wait for a connection before a 503.")
    database_prepared_statements: bool = Field(
        True, description="Server-side prepared statements. Off behind a PgBouncer with max_prepared_statements 0."
    )

    blob_connection_string: SecretStr | None = Field(
        None, description="Storage connection string. Without it the account URL and a managed identity are used."
    )
    blob_account_url: str | None = Field(None, description="https://ACCOUNT.blob.core.windows.net, with identity.")
    blob_container: str = Field("shadow-hubble", min_length=3, max_length=63, description="The app's one container.")
    audit_container: str | None = Field(
        None, min_length=3, max_length=63, description="Container that audit heads are written to, one that keeps them."
    )

    oidc_issuer: str = Field(description="The issuer that tokens must name, exactly.")
    oidc_audience: str = Field(description="The audience that tokens must name.")
    oidc_jwks_url: str | None = Field(None, description="The issuer's keys. Default: from its discovery document.")
    bootstrap_admins: CommaSeparated = Field(
        frozenset(), description="Token subjects (oid or sub) that become admin at their first sign-in."
    )
    function_key_sha256s: CommaSeparated = Field(
        frozenset(), description="SHA-256 (hex) of each machine key that may call predict by x-functions-key."
    )

    applicationinsights_connection_string: SecretStr | None = Field(None, description="Turns OpenTelemetry on.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")

    max_json_bytes: int = Field(1_048_576, ge=1024, description="Longest JSON body.")
    max_batch_json_bytes: int = Field(
        8_388_608, ge=1024, description="Longest JSON body of predict/batch; 1,000 transactions must fit."
    )
    max_upload_bytes: int = Field(104_857_600, ge=1024, description="Largest dataset posted as a request body.")
    max_direct_upload_bytes: int = Field(
        10_737_418_240, ge=1024, description="Largest dataset uploaded straight to Blob."
    )
    max_dataset_rows: int = Field(50_000_000, ge=2, description="Most rows of a dataset.")
    max_dataset_columns: int = Field(500, ge=2, description="Most columns of a dataset.")
    max_dataset_cell_bytes: int = Field(65_536, ge=100, description="Longest cell of a dataset, as UTF-8.")
    feature_rows_at_once: int = Field(
        2_000_000, ge=1000, description="Features of larger datasets are computed in parts of half as many rows."
    )
    training_concurrency: int = Field(5, ge=1, le=100, description="Training jobs at a time; the others wait in line.")
    dask_scheduler_address: str | None = Field(
        None, description="tcp:// or tls://host:port of a Dask cluster that trains xgboost jobs. Default: the app does."
    )
    explain_always: bool = Field(False, description="Store reasons for every transaction, not only flagged ones.")
    scoring_lanes: int = Field(1, ge=1, le=8, description="Batches at a time; more where commits are slow.")
    scoring_queue_size: int = Field(2000, ge=1, description="Transactions that may wait; more are answered 503.")
    duplicate_window_hours: float = Field(
        24, ge=0, le=720, description="How long a transaction that is sent again gets its first answer; 0: never."
    )
    history_retention_days: int = Field(
        400, ge=1, le=3650, description="Days that history can look back on; months that are older are dropped."
    )
    drift_window_hours: CommaSeparated = Field(
        frozenset({"1", "24"}), description="Lengths in hours of the windows that are looked at for drift."
    )
    drift_reference: Literal["training", "same_hours_of_the_week"] = Field(
        "training", description="What windows are compared with: training, or the four weeks before."
    )
    drift_min_rows: int = Field(200, ge=50, description="Windows with fewer predictions say nothing of drift.")
    drift_limits: dict[str, tuple[float, float]] = Field(
        {}, description="WARNING and CRITICAL by figure, as JSON, in place of the defaults in docs/monitoring.md."
    )
    shadow_retention_days: int = Field(
        90, ge=1, le=3650, description="Days that what challengers would have decided is kept."
    )
    prediction_retention_months: int = Field(
        18, ge=1, le=120, description="Months that predictions stay in the database; older ones are archived to Blob."
    )
    scoring_deadline_seconds: float = Field(5.0, gt=0, description="Longest a transaction waits for its answer.")

    bias_window_days: int = Field(30, ge=1, le=366, description="Days that the nightly look for bias covers.")
    performance_window_days: int = Field(30, ge=1, le=366, description="Days of labels that a model is judged by.")
    error_rate_limit: float = Field(0.01, gt=0, le=1, description="What share of a day's requests may fail.")
    latency_p99_limit_ms: float = Field(200, gt=0, description="What the 99th percentile of a day's latency may be.")
    label_maturity_days: int = Field(
        30, ge=0, le=365, description="Age in days at which a prediction's label has come, if it ever does."
    )
    retraining_cool_down_hours: float = Field(24, ge=0, description="Least time from a model's retraining to the next.")
    retraining_weekly_budget: int = Field(5, ge=0, description="Retraining jobs that alerts may start in a week.")
    retraining_minimum_labels: int = Field(200, ge=2, description="New mature labels that retraining needs.")
    retraining_minimum_frauds: int = Field(20, ge=1, description="Frauds among them.")
    webhook_signing_key: SecretStr | None = Field(
        None, min_length=32, description="What secrets of webhooks derive from, 32 characters or more."
    )
    webhook_allow_private: bool = Field(
        False, description="Whether webhooks may be http and go to addresses that are not public."
    )

    @field_validator("bootstrap_admins", "function_key_sha256s", "drift_window_hours", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return frozenset(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("audit_container", "blob_connection_string", "blob_account_url", "dask_scheduler_address",
                     "oidc_jwks_url", "applicationinsights_connection_string", "webhook_signing_key",
                     mode="before")  # fmt: skip
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("drift_window_hours")
    @classmethod
    def _whole_hours(cls, value: frozenset[str]) -> frozenset[str]:
        if not value or any(not part.isdecimal() or not 1 <= int(part) <= 2160 for part in value):
            raise ValueError("each must be a whole number of hours from 1 to 2160")
        return value

    @field_validator("drift_limits", mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value

    @field_validator("drift_limits")
    @classmethod
    def _known_limits(cls, value: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        known = ("psi", "ks_statistic", "missing_rate", "unseen_rate", "share_change", "drifted_share")
        if unknown := sorted(value.keys() - set(known)):
            raise ValueError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
        if any(not 0 <= warning <= critical for warning, critical in value.values()):
            raise ValueError("WARNING is at least 0 and at most CRITICAL")
        return value

    @field_validator("function_key_sha256s")
    @classmethod
    def _hex_digests(cls, value: frozenset[str]) -> frozenset[str]:
        lowered = frozenset(part.lower() for part in value)
        if any(len(part) != 64 or set(part) - set("0123456789abcdef") for part in lowered):
            raise ValueError("each must be 64 hexadecimal digits")
        return lowered

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if urlsplit(self.database_url.get_secret_value()).scheme not in ("postgresql", "postgres"):
            raise ValueError("DATABASE_URL must begin with postgresql://")
        if not (self.blob_connection_string or self.blob_account_url):
            raise ValueError("BLOB_CONNECTION_STRING or BLOB_ACCOUNT_URL must be set")
        return self


@cache
def get_settings() -> Settings:
    """The settings of this process, read on first use."""
    return Settings()
