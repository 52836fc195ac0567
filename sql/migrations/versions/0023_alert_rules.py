"""alert_rules, alert_rule_states, alert_webhooks, alert_deliveries; what alerts know of rules and quiet windows.

Reason: people set their own limits on the figures of monitoring; an alert reaches them where they work, each message
written in the transaction that changed the alert and delivered from there until it arrives; an alert that comes and
goes with every window is one alert.
"""

from __future__ import annotations

from sql.migrations.statements import execute, limit_waiting

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    limit_waiting()
    execute(
        """
        CREATE TABLE alert_rules (
            id uuid PRIMARY KEY,
            name varchar(255) NOT NULL UNIQUE,
            metric varchar(100) NOT NULL,
            operator varchar(10) NOT NULL CHECK (operator IN ('gte', 'lte', 'eq', 'gt', 'lt')),
            threshold double precision NOT NULL,
            severity varchar(20) NOT NULL CHECK (severity IN ('INFO', 'WARNING', 'CRITICAL')),
            model_id uuid REFERENCES ml_models(id) ON DELETE CASCADE,
            subject varchar(255),
            windows smallint NOT NULL DEFAULT 1 CHECK (windows >= 1),
            cool_down_minutes integer NOT NULL DEFAULT 0 CHECK (cool_down_minutes >= 0),
            auto_retrain boolean NOT NULL DEFAULT false,
            is_active boolean NOT NULL DEFAULT true,
            created_by uuid REFERENCES users(id),
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL
        );
        COMMENT ON TABLE alert_rules IS 'Limits that people set on figures of monitoring';
        COMMENT ON COLUMN alert_rules.subject IS 'A feature or a protected attribute; NULL: whichever the figure is of';
        COMMENT ON COLUMN alert_rules.windows IS 'So many windows in a row must break the rule, or keep it again';
        CREATE INDEX idx_alert_rules_metric ON alert_rules(metric) WHERE is_active;

        CREATE TABLE alert_rule_states (
            rule_id uuid NOT NULL REFERENCES alert_rules(id) ON DELETE CASCADE,
            model_id uuid NOT NULL REFERENCES ml_models(id) ON DELETE CASCADE,
            subject varchar(255) NOT NULL,
            broken_windows integer NOT NULL,
            last_window timestamptz NOT NULL,
            PRIMARY KEY (rule_id, model_id, subject)
        );
        COMMENT ON TABLE alert_rule_states IS 'How many windows in a row have broken a rule';

        CREATE TABLE alert_webhooks (
            id uuid PRIMARY KEY,
            name varchar(100) NOT NULL UNIQUE,
            url varchar(2000) NOT NULL,
            minimum_severity varchar(20) NOT NULL CHECK (minimum_severity IN ('INFO', 'WARNING', 'CRITICAL')),
            source_types jsonb,
            secret_version integer NOT NULL DEFAULT 1,
            rotated_at timestamptz,
            is_active boolean NOT NULL DEFAULT true,
            created_by uuid REFERENCES users(id),
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL
        );
        COMMENT ON TABLE alert_webhooks IS 'Where alerts are sent; the secrets that sign are derived, not stored';

        CREATE TABLE alert_deliveries (
            id uuid PRIMARY KEY,
            webhook_id uuid NOT NULL REFERENCES alert_webhooks(id) ON DELETE CASCADE,
            alert_id uuid REFERENCES alerts(id) ON DELETE CASCADE,
            event varchar(50) NOT NULL,
            payload jsonb NOT NULL,
            attempts smallint NOT NULL DEFAULT 0,
            next_attempt_at timestamptz,
            delivered_at timestamptz,
            last_status smallint,
            last_error text,
            created_at timestamptz NOT NULL
        );
        COMMENT ON TABLE alert_deliveries IS 'Messages of alerts, written with the change that they tell';
        COMMENT ON COLUMN alert_deliveries.next_attempt_at IS 'NULL once it has arrived or was given up';
        CREATE INDEX idx_alert_deliveries_due ON alert_deliveries(next_attempt_at) WHERE next_attempt_at IS NOT NULL;
        CREATE INDEX idx_alert_deliveries_alert ON alert_deliveries(alert_id);
        CREATE INDEX idx_alert_deliveries_webhook ON alert_deliveries(webhook_id, created_at DESC);

        ALTER TABLE alerts
            ADD COLUMN rule_id uuid REFERENCES alert_rules(id) ON DELETE SET NULL,
            ADD COLUMN retraining_requested boolean NOT NULL DEFAULT false,
            ADD COLUMN quiet_windows integer NOT NULL DEFAULT 0,
            ADD COLUMN last_quiet_at timestamptz;
        COMMENT ON COLUMN alerts.retraining_requested IS 'The rule that raised it wants the model trained again';
        COMMENT ON COLUMN alerts.quiet_windows IS 'Windows without the cause since it was noticed last';
        """
    )


def downgrade() -> None:
    limit_waiting()
    execute(
        """
        ALTER TABLE alerts DROP COLUMN rule_id, DROP COLUMN retraining_requested, DROP COLUMN quiet_windows,
            DROP COLUMN last_quiet_at;
        DROP TABLE alert_deliveries, alert_webhooks, alert_rule_states, alert_rules
        """
    )
