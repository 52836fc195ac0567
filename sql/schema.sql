-- The database schema at the newest revision, made by `python -m sql.schema --write`. Not to be edited:
-- change the schema by a migration. Partitions after the first two are made by ensure_predictions_partitions().

SET timezone = 'UTC';

CREATE TABLE users (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    azure_ad_id character varying(255) NOT NULL,
    email character varying(255) NOT NULL,
    display_name character varying(255),
    role character varying(50) DEFAULT 'analyst',
    is_active boolean DEFAULT true,
    created_at timestamp with time zone DEFAULT now(),
    last_login_at timestamp with time zone,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_azure_ad_id_key UNIQUE (azure_ad_id),
    CONSTRAINT users_email_key UNIQUE (email),
    CONSTRAINT users_role_check CHECK (role IS NOT NULL AND (role IN ('admin', 'scientist', 'analyst')))
);

CREATE INDEX idx_users_azure_id ON users (azure_ad_id);
CREATE INDEX idx_users_by_time ON users (created_at, id) INCLUDE (role, is_active, email, display_name);

CREATE TABLE datasets (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name character varying(255) NOT NULL,
    description text,
    version character varying(50) NOT NULL DEFAULT '1.0',
    storage_path character varying(500) NOT NULL,
    file_format character varying(50) DEFAULT 'parquet',
    file_size_bytes bigint,
    row_count integer,
    column_count integer,
    schema jsonb,
    statistics jsonb,
    status character varying(50) DEFAULT 'ACTIVE',
    parent_id uuid,
    created_by uuid,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    quality jsonb,
    CONSTRAINT datasets_pkey PRIMARY KEY (id),
    CONSTRAINT datasets_status_check CHECK (status IS NOT NULL AND (status IN ('ACTIVE', 'ARCHIVED', 'PROCESSING'))),
    CONSTRAINT datasets_created_by_fkey FOREIGN KEY (created_by) REFERENCES users(id),
    CONSTRAINT datasets_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES datasets(id)
) WITH (toast_tuple_target=128);

CREATE INDEX idx_datasets_name ON datasets (name);
CREATE INDEX idx_datasets_status ON datasets (status);
CREATE INDEX idx_datasets_created ON datasets (created_at DESC);
CREATE INDEX idx_datasets_parent ON datasets (parent_id);
CREATE INDEX idx_datasets_words ON datasets USING gin (to_tsvector('simple'::regconfig, regexp_replace(lower((((name::text || ' ') || COALESCE(description, '')) || ' ') || COALESCE(jsonb_path_query_array(schema, '$."columns"[*]."name"'::jsonpath)::text, '')), '[^[:alnum:]]+', ' ', 'g')));
CREATE INDEX idx_datasets_by_time ON datasets (created_at DESC, id DESC) INCLUDE (status, name, row_count, created_by);
CREATE INDEX idx_datasets_by_name ON datasets (name, id) INCLUDE (status, row_count, created_by, created_at);
CREATE INDEX idx_datasets_by_rows ON datasets (row_count, id) INCLUDE (status, name, created_by, created_at);

COMMENT ON COLUMN datasets.quality IS 'What was found wrong or worth knowing when the file was read, each finding with its severity';

CREATE TABLE feature_sets (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    dataset_id uuid NOT NULL,
    name character varying(255) NOT NULL,
    description text,
    config jsonb NOT NULL,
    all_features jsonb,
    selected_features jsonb,
    selection_report jsonb,
    storage_path character varying(500),
    input_rows integer,
    feature_count integer,
    selected_feature_count integer,
    status character varying(50) DEFAULT 'PENDING',
    error_message text,
    processing_time_seconds integer,
    created_by uuid,
    created_at timestamp with time zone DEFAULT now(),
    completed_at timestamp with time zone,
    orchestration_id text,
    progress jsonb,
    content_hash text,
    plan_given boolean NOT NULL DEFAULT false,
    plan_of uuid,
    CONSTRAINT feature_sets_pkey PRIMARY KEY (id),
    CONSTRAINT feature_sets_status_check CHECK (status IS NOT NULL AND (status IN ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED'))),
    CONSTRAINT feature_sets_created_by_fkey FOREIGN KEY (created_by) REFERENCES users(id),
    CONSTRAINT feature_sets_dataset_id_fkey FOREIGN KEY (dataset_id) REFERENCES datasets(id) ON DELETE CASCADE,
    CONSTRAINT feature_sets_plan_of_fkey FOREIGN KEY (plan_of) REFERENCES feature_sets(id) ON DELETE SET NULL
);

CREATE INDEX idx_feature_sets_dataset ON feature_sets (dataset_id);
CREATE INDEX idx_feature_sets_status ON feature_sets (status);
CREATE INDEX idx_feature_sets_selected_features ON feature_sets USING gin (selected_features);
CREATE INDEX idx_feature_sets_by_time ON feature_sets (created_at, id) INCLUDE (name, status, dataset_id, created_by);

COMMENT ON COLUMN feature_sets.orchestration_id IS 'Instance id of the durable orchestration that computes this feature set';
COMMENT ON COLUMN feature_sets.progress IS 'Progress by stage';
COMMENT ON COLUMN feature_sets.content_hash IS 'Hash of the feature plan; equal hashes give equal features';
COMMENT ON COLUMN feature_sets.plan_given IS 'Whether the caller gave the plan; if not, it was fitted here';
COMMENT ON COLUMN feature_sets.plan_of IS 'The feature set whose plan was given, where it was given by its set';

CREATE TABLE ml_models (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name character varying(255) NOT NULL,
    version character varying(50) NOT NULL,
    description text,
    algorithm character varying(100) NOT NULL,
    hyperparameters jsonb NOT NULL,
    feature_set_id uuid,
    training_job_id uuid,
    storage_path character varying(500) NOT NULL,
    model_size_bytes bigint,
    metrics jsonb NOT NULL,
    feature_names jsonb,
    feature_importance jsonb,
    status character varying(50) DEFAULT 'TRAINED',
    promoted_at timestamp with time zone,
    archived_at timestamp with time zone,
    archived_reason text,
    created_by uuid,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    threshold double precision,
    artifact_sha256 text,
    CONSTRAINT ml_models_pkey PRIMARY KEY (id),
    CONSTRAINT ml_models_artifact_sha256_check CHECK (artifact_sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ml_models_name_version_key UNIQUE (name, version),
    CONSTRAINT ml_models_status_check CHECK (status IS NOT NULL AND (status IN ('TRAINED', 'STAGING', 'PRODUCTION', 'ARCHIVED'))),
    CONSTRAINT ml_models_threshold_check CHECK (threshold >= 0::double precision AND threshold <= 1::double precision),
    CONSTRAINT ml_models_created_by_fkey FOREIGN KEY (created_by) REFERENCES users(id),
    CONSTRAINT ml_models_feature_set_id_fkey FOREIGN KEY (feature_set_id) REFERENCES feature_sets(id)
);

CREATE INDEX idx_models_status ON ml_models (status);
CREATE INDEX idx_models_algorithm ON ml_models (algorithm);
CREATE INDEX idx_models_created ON ml_models (created_at DESC);
CREATE UNIQUE INDEX idx_models_production ON ml_models (status) WHERE status = 'PRODUCTION';
CREATE INDEX idx_models_production_fast ON ml_models (id) WHERE status = 'PRODUCTION';
CREATE INDEX idx_models_by_time ON ml_models (created_at, id) INCLUDE (name, status, algorithm, created_by);
CREATE INDEX idx_models_by_name ON ml_models (name, id) INCLUDE (status, algorithm, created_by, created_at);
CREATE INDEX idx_models_by_algorithm ON ml_models (algorithm, id) INCLUDE (name, status, created_by, created_at);
CREATE INDEX idx_models_by_status ON ml_models (status, id) INCLUDE (name, algorithm, created_by, created_at);

COMMENT ON COLUMN ml_models.threshold IS 'Scores at or above it are decided as fraud';
COMMENT ON COLUMN ml_models.artifact_sha256 IS 'SHA-256 of metadata.json, which holds the SHA-256 of every other file of the artifact';

CREATE TABLE baselines (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    model_id uuid NOT NULL,
    metric_name character varying(100) NOT NULL,
    threshold double precision NOT NULL,
    operator character varying(10) NOT NULL,
    is_active boolean DEFAULT true,
    created_by uuid,
    created_at timestamp with time zone DEFAULT now(),
    bound text NOT NULL DEFAULT 'value',
    CONSTRAINT baselines_pkey PRIMARY KEY (id),
    CONSTRAINT baselines_bound_check CHECK (bound = ANY (ARRAY['value', 'lower', 'upper', 'pessimistic'])),
    CONSTRAINT baselines_model_id_metric_name_key UNIQUE (model_id, metric_name),
    CONSTRAINT baselines_operator_check CHECK (operator IN ('gte', 'lte', 'eq', 'gt', 'lt')),
    CONSTRAINT baselines_created_by_fkey FOREIGN KEY (created_by) REFERENCES users(id),
    CONSTRAINT baselines_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE
);

CREATE INDEX idx_baselines_model ON baselines (model_id);

COMMENT ON COLUMN baselines.bound IS 'Which number meets the threshold: the figure, an end of its confidence interval, or the worse end';

CREATE TABLE training_jobs (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    name character varying(255) NOT NULL,
    feature_set_id uuid NOT NULL,
    algorithm character varying(100) NOT NULL,
    hyperparameters jsonb NOT NULL,
    train_test_split double precision DEFAULT 0.8,
    status character varying(50) DEFAULT 'QUEUED',
    progress double precision DEFAULT 0,
    current_epoch integer,
    total_epochs integer,
    metrics jsonb,
    final_metrics jsonb,
    model_id uuid,
    error_message text,
    error_traceback text,
    queued_at timestamp with time zone DEFAULT now(),
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    celery_task_id character varying(255),
    created_by uuid,
    created_at timestamp with time zone DEFAULT now(),
    orchestration_id text,
    threshold_policy jsonb,
    calibration text NOT NULL DEFAULT 'auto',
    evaluation jsonb NOT NULL DEFAULT '{}'::jsonb,
    CONSTRAINT training_jobs_pkey PRIMARY KEY (id),
    CONSTRAINT training_jobs_calibration_check CHECK (calibration = ANY (ARRAY['auto', 'none', 'sigmoid', 'isotonic'])),
    CONSTRAINT training_jobs_status_check CHECK (status IS NOT NULL AND (status IN ('QUEUED', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED'))),
    CONSTRAINT training_jobs_created_by_fkey FOREIGN KEY (created_by) REFERENCES users(id),
    CONSTRAINT training_jobs_feature_set_id_fkey FOREIGN KEY (feature_set_id) REFERENCES feature_sets(id),
    CONSTRAINT training_jobs_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id)
);

CREATE INDEX idx_training_jobs_status ON training_jobs (status);
CREATE INDEX idx_training_jobs_created ON training_jobs (created_at DESC);
CREATE INDEX idx_training_jobs_feature_set ON training_jobs (feature_set_id, created_at DESC);
CREATE INDEX idx_training_jobs_by_time ON training_jobs (created_at, id) INCLUDE (name, status, algorithm, feature_set_id, created_by);

COMMENT ON COLUMN training_jobs.celery_task_id IS 'Deprecated: always NULL; see orchestration_id';
COMMENT ON COLUMN training_jobs.orchestration_id IS 'Instance id of the durable orchestration that trains this job';
COMMENT ON COLUMN training_jobs.threshold_policy IS 'How the decision threshold is chosen; NULL is the default policy';
COMMENT ON COLUMN training_jobs.calibration IS 'The curve over the scores that was asked for; which one was laid is in the figures of the model';
COMMENT ON COLUMN training_jobs.evaluation IS 'Review capacity and costs that the figures are reckoned with; the rest comes from threshold_policy';

CREATE TABLE predictions (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    model_id uuid NOT NULL,
    transaction_id character varying(255),
    input_features jsonb NOT NULL,
    fraud_score double precision NOT NULL,
    is_fraud boolean NOT NULL,
    confidence double precision,
    explanation jsonb,
    actual_label boolean,
    labeled_at timestamp with time zone,
    latency_ms integer,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    cells bytea,
    CONSTRAINT predictions_pkey PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);

CREATE TABLE predictions_2026_01 PARTITION OF predictions
    FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-02-01 00:00:00+00');

CREATE TABLE predictions_2026_02 PARTITION OF predictions
    FOR VALUES FROM ('2026-02-01 00:00:00+00') TO ('2026-03-01 00:00:00+00');

CREATE INDEX idx_predictions_model ON predictions (model_id, created_at DESC);
CREATE INDEX idx_predictions_transaction ON predictions (transaction_id);
CREATE INDEX idx_predictions_unlabeled ON predictions (created_at) WHERE actual_label IS NULL;
CREATE INDEX idx_predictions_timeseries ON predictions (model_id, created_at DESC);

CREATE TABLE drift_metrics (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    model_id uuid NOT NULL,
    drift_type character varying(50) NOT NULL,
    feature_name character varying(100),
    metric_name character varying(100) NOT NULL,
    metric_value double precision NOT NULL,
    status character varying(50) NOT NULL,
    threshold_used double precision,
    window_start timestamp with time zone,
    window_end timestamp with time zone,
    reference_window_start timestamp with time zone,
    reference_window_end timestamp with time zone,
    reference_count integer,
    current_count integer,
    computed_at timestamp with time zone DEFAULT now(),
    CONSTRAINT drift_metrics_pkey PRIMARY KEY (id),
    CONSTRAINT drift_metrics_status_check CHECK (status IS NOT NULL AND (status IN ('OK', 'WARNING', 'CRITICAL'))),
    CONSTRAINT drift_metrics_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE
);

CREATE INDEX idx_drift_model_date ON drift_metrics (model_id, computed_at DESC);
CREATE INDEX idx_drift_type ON drift_metrics (drift_type, computed_at DESC);
CREATE INDEX idx_drift_status ON drift_metrics (status) WHERE status <> 'OK';
CREATE INDEX idx_drift_model_window ON drift_metrics (model_id, window_end DESC, id DESC);

CREATE TABLE bias_metrics (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    model_id uuid NOT NULL,
    protected_attribute character varying(100) NOT NULL,
    metric_name character varying(100) NOT NULL,
    overall_value double precision NOT NULL,
    group_values jsonb NOT NULL,
    status character varying(50) NOT NULL,
    threshold_used double precision,
    sample_size integer,
    group_sizes jsonb,
    computed_at timestamp with time zone DEFAULT now(),
    window_start timestamp with time zone,
    window_end timestamp with time zone,
    interval_low double precision,
    interval_high double precision,
    p_value double precision,
    CONSTRAINT bias_metrics_pkey PRIMARY KEY (id),
    CONSTRAINT bias_metrics_status_check CHECK (status IS NOT NULL AND (status IN ('OK', 'WARNING', 'CRITICAL'))),
    CONSTRAINT bias_metrics_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE
);

CREATE INDEX idx_bias_model ON bias_metrics (model_id, computed_at DESC);
CREATE INDEX idx_bias_attribute ON bias_metrics (protected_attribute);
CREATE INDEX idx_bias_status ON bias_metrics (status) WHERE status <> 'OK';

COMMENT ON COLUMN bias_metrics.p_value IS 'Of the test that all groups are alike, corrected for everything tested with it (Holm)';

CREATE TABLE protected_attributes (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    attribute_name character varying(100) NOT NULL,
    column_name character varying(100) NOT NULL,
    description text,
    groups jsonb NOT NULL,
    thresholds jsonb NOT NULL,
    is_active boolean DEFAULT true,
    created_by uuid,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    CONSTRAINT protected_attributes_pkey PRIMARY KEY (id),
    CONSTRAINT protected_attributes_attribute_name_key UNIQUE (attribute_name),
    CONSTRAINT protected_attributes_created_by_fkey FOREIGN KEY (created_by) REFERENCES users(id)
);

CREATE TABLE alerts (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    model_id uuid,
    source_type character varying(50) NOT NULL,
    source_id uuid,
    alert_type character varying(50) NOT NULL,
    severity character varying(20) NOT NULL,
    title character varying(255) NOT NULL,
    description text,
    details jsonb,
    status character varying(50) DEFAULT 'ACTIVE',
    acknowledged_by uuid,
    acknowledged_at timestamp with time zone,
    resolved_by uuid,
    resolved_at timestamp with time zone,
    resolution_notes text,
    triggered_retraining boolean DEFAULT false,
    retraining_job_id uuid,
    created_at timestamp with time zone DEFAULT now(),
    cause text,
    occurrences integer NOT NULL DEFAULT 1,
    last_seen_at timestamp with time zone,
    rule_id uuid,
    retraining_requested boolean NOT NULL DEFAULT false,
    quiet_windows integer NOT NULL DEFAULT 0,
    last_quiet_at timestamp with time zone,
    CONSTRAINT alerts_pkey PRIMARY KEY (id),
    CONSTRAINT alerts_severity_check CHECK (severity IN ('INFO', 'WARNING', 'CRITICAL')),
    CONSTRAINT alerts_status_check CHECK (status IS NOT NULL AND (status IN ('ACTIVE', 'ACKNOWLEDGED', 'RESOLVED', 'DISMISSED'))),
    CONSTRAINT alerts_acknowledged_by_fkey FOREIGN KEY (acknowledged_by) REFERENCES users(id),
    CONSTRAINT alerts_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id),
    CONSTRAINT alerts_resolved_by_fkey FOREIGN KEY (resolved_by) REFERENCES users(id)
);

CREATE INDEX idx_alerts_status ON alerts (status, created_at DESC);
CREATE INDEX idx_alerts_model ON alerts (model_id, created_at DESC);
CREATE INDEX idx_alerts_severity ON alerts (severity, created_at DESC);
CREATE INDEX idx_alerts_active ON alerts (created_at DESC) WHERE status = 'ACTIVE';
CREATE UNIQUE INDEX idx_alerts_open_cause ON alerts (cause) WHERE status IN ('ACTIVE', 'ACKNOWLEDGED');
CREATE INDEX idx_alerts_by_time ON alerts (created_at, id) INCLUDE (status, severity, source_type, model_id);

COMMENT ON COLUMN alerts.cause IS 'What is wrong, as a key: one open alert for each';
COMMENT ON COLUMN alerts.occurrences IS 'How often the cause was noticed while the alert was open';
COMMENT ON COLUMN alerts.last_seen_at IS 'When the cause was noticed last';
COMMENT ON COLUMN alerts.retraining_requested IS 'The rule that raised it wants the model trained again';
COMMENT ON COLUMN alerts.quiet_windows IS 'Windows without the cause since it was noticed last';

CREATE TABLE audit_logs (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid,
    user_email character varying(255),
    action character varying(100) NOT NULL,
    resource_type character varying(100) NOT NULL,
    resource_id uuid,
    old_values jsonb,
    new_values jsonb,
    metadata jsonb,
    ip_address inet,
    user_agent text,
    request_id character varying(255),
    created_at timestamp with time zone DEFAULT now(),
    CONSTRAINT audit_logs_pkey PRIMARY KEY (id),
    CONSTRAINT audit_logs_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id)
);

CREATE INDEX idx_audit_user ON audit_logs (user_id, created_at DESC);
CREATE INDEX idx_audit_resource ON audit_logs (resource_type, resource_id);
CREATE INDEX idx_audit_action ON audit_logs (action, created_at DESC);
CREATE INDEX idx_audit_created ON audit_logs (created_at DESC, id DESC);
CREATE INDEX idx_audit_resource_created ON audit_logs (resource_type, created_at DESC);
CREATE INDEX idx_audit_request ON audit_logs (request_id);

CREATE TABLE model_promotions (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    model_id uuid NOT NULL,
    from_status character varying(50) NOT NULL,
    to_status character varying(50) NOT NULL,
    verdict jsonb,
    reason text,
    overridden boolean NOT NULL DEFAULT false,
    promoted_by uuid,
    promoted_at timestamp with time zone NOT NULL DEFAULT now(),
    replaced_by uuid,
    CONSTRAINT model_promotions_pkey PRIMARY KEY (id),
    CONSTRAINT model_promotions_change_check CHECK (from_status::text <> to_status::text),
    CONSTRAINT model_promotions_from_status_check CHECK (from_status IN ('TRAINED', 'STAGING', 'PRODUCTION', 'ARCHIVED')),
    CONSTRAINT model_promotions_override_check CHECK (NOT overridden OR reason IS NOT NULL AND btrim(reason) <> ''),
    CONSTRAINT model_promotions_to_status_check CHECK (to_status IN ('TRAINED', 'STAGING', 'PRODUCTION', 'ARCHIVED')),
    CONSTRAINT model_promotions_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id),
    CONSTRAINT model_promotions_promoted_by_fkey FOREIGN KEY (promoted_by) REFERENCES users(id),
    CONSTRAINT model_promotions_replaced_by_fkey FOREIGN KEY (replaced_by) REFERENCES ml_models(id)
);

CREATE INDEX idx_model_promotions_model ON model_promotions (model_id, promoted_at DESC);
CREATE INDEX idx_model_promotions_production ON model_promotions (promoted_at DESC) WHERE to_status = 'PRODUCTION' OR from_status = 'PRODUCTION';

COMMENT ON TABLE model_promotions IS 'Every change of a model''s status, in the transaction that made it';
COMMENT ON COLUMN model_promotions.verdict IS 'What the gate found: every rule with its numbers, and whether it held';
COMMENT ON COLUMN model_promotions.overridden IS 'Promoted although a baseline did not hold; needs a reason';
COMMENT ON COLUMN model_promotions.replaced_by IS 'The model that took over production with this step; NULL where a model was archived on purpose';

CREATE TABLE history_layouts (
    id smallint NOT NULL,
    fingerprint text NOT NULL,
    columns jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    complete_until timestamp with time zone,
    labels_told bigint NOT NULL DEFAULT 0,
    CONSTRAINT history_layouts_pkey PRIMARY KEY (id),
    CONSTRAINT history_layouts_fingerprint_key UNIQUE (fingerprint)
);

COMMENT ON TABLE history_layouts IS 'What the events of entity_events carry: one row a set of entities and columns that models use';
COMMENT ON COLUMN history_layouts.complete_until IS 'Predictions made before this moment are among the events, whichever model made them; NULL: not known';
COMMENT ON COLUMN history_layouts.labels_told IS 'The events know of prediction_labels up to this id';

CREATE TABLE entity_events (
    key bigint NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    id_hash bigint,
    known_at timestamp with time zone NOT NULL DEFAULT 'infinity'::timestamp with time zone,
    layout smallint NOT NULL,
    entity smallint NOT NULL,
    label smallint NOT NULL DEFAULT '-1'::integer,
    payload bytea NOT NULL,
    CONSTRAINT entity_events_label_check CHECK (label = ANY (ARRAY['-1'::integer, 0, 1]))
) PARTITION BY RANGE (occurred_at);

CREATE UNIQUE INDEX idx_entity_events_newest ON entity_events (layout, entity, key, occurred_at DESC, id_hash DESC NULLS LAST) INCLUDE (known_at, label, payload);

COMMENT ON TABLE entity_events IS 'Past transactions, once for each entity that took part; hashes, no clear text';
COMMENT ON COLUMN entity_events.key IS 'Hash of the entity''s value';
COMMENT ON COLUMN entity_events.id_hash IS 'Hash of the transaction''s id; NULL without one: never a duplicate';
COMMENT ON COLUMN entity_events.known_at IS 'When the label became known; infinity while it is not';
COMMENT ON COLUMN entity_events.entity IS 'Position of the entity in the layout';
COMMENT ON COLUMN entity_events.label IS '1 fraud, 0 genuine, -1 unknown';
COMMENT ON COLUMN entity_events.payload IS 'The layout''s numbers, then its codes: 8 bytes each, big-endian';

CREATE TABLE champion_rules (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    model_id uuid NOT NULL,
    metric_name text NOT NULL,
    tolerance double precision NOT NULL,
    unit text NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    created_by uuid,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT champion_rules_pkey PRIMARY KEY (id),
    CONSTRAINT champion_rules_model_id_metric_name_key UNIQUE (model_id, metric_name),
    CONSTRAINT champion_rules_tolerance_check CHECK (tolerance >= 0::double precision AND tolerance < 'Infinity'::double precision),
    CONSTRAINT champion_rules_unit_check CHECK (unit = ANY (ARRAY['absolute', 'relative'])),
    CONSTRAINT champion_rules_created_by_fkey FOREIGN KEY (created_by) REFERENCES users(id),
    CONSTRAINT champion_rules_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE
);

COMMENT ON TABLE champion_rules IS 'By how much a model may be worse than the one in production to be promoted over it';

CREATE TABLE audit_chain (
    sequence bigint NOT NULL,
    entry_id uuid NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_chain_pkey PRIMARY KEY (sequence),
    CONSTRAINT audit_chain_entry_id_key UNIQUE (entry_id),
    CONSTRAINT audit_chain_hash_check CHECK (octet_length(hash) = 32),
    CONSTRAINT audit_chain_entry_id_fkey FOREIGN KEY (entry_id) REFERENCES audit_logs(id)
);

COMMENT ON TABLE audit_chain IS 'One seal for each entry of audit_logs, in the order of their commits';
COMMENT ON COLUMN audit_chain.hash IS 'SHA-256 of the seal before, the sequence and every column of the entry';

CREATE TABLE submissions (
    transaction_id character varying(255) NOT NULL,
    scope uuid NOT NULL,
    payload uuid NOT NULL,
    prediction_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT submissions_pkey PRIMARY KEY (transaction_id, scope)
);

COMMENT ON TABLE submissions IS 'Transactions scored within the window in which sending one again gives the first answer';
COMMENT ON COLUMN submissions.scope IS 'Who sent it, and to which model where one was named, as a hash';
COMMENT ON COLUMN submissions.payload IS 'Hash of the transaction';
COMMENT ON COLUMN submissions.prediction_id IS 'The prediction that answered it first';

CREATE TABLE prediction_labels (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    prediction_id uuid NOT NULL,
    prediction_created_at timestamp with time zone NOT NULL,
    model_id uuid NOT NULL,
    is_fraud boolean NOT NULL,
    labeled_at timestamp with time zone NOT NULL,
    source character varying(100),
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    recorded_by uuid,
    previous boolean,
    CONSTRAINT prediction_labels_pkey PRIMARY KEY (id)
);

CREATE INDEX idx_prediction_labels_prediction ON prediction_labels (prediction_created_at, prediction_id, id);
CREATE INDEX idx_prediction_labels_model ON prediction_labels (model_id, id);

COMMENT ON TABLE prediction_labels IS 'Every label that was told of a prediction; ids are in the order of commits';
COMMENT ON COLUMN prediction_labels.labeled_at IS 'When this became known, as the source says';
COMMENT ON COLUMN prediction_labels.recorded_at IS 'When the app was told';
COMMENT ON COLUMN prediction_labels.previous IS 'predictions.actual_label before this label; NULL: none';

CREATE TABLE pending_labels (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    transaction_id character varying(255),
    prediction_id uuid,
    is_fraud boolean NOT NULL,
    labeled_at timestamp with time zone NOT NULL,
    source character varying(100),
    recorded_at timestamp with time zone NOT NULL DEFAULT now(),
    recorded_by uuid,
    tried_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT pending_labels_pkey PRIMARY KEY (id),
    CONSTRAINT pending_labels_target_check CHECK (num_nonnulls(transaction_id, prediction_id) = 1)
);

CREATE INDEX idx_pending_labels_transaction ON pending_labels (transaction_id) WHERE transaction_id IS NOT NULL;
CREATE INDEX idx_pending_labels_prediction ON pending_labels (prediction_id) WHERE prediction_id IS NOT NULL;
CREATE INDEX idx_pending_labels_tried ON pending_labels (tried_at);

COMMENT ON TABLE pending_labels IS 'Labels of transactions that have not been scored, and of predictions that are archived: they wait';

CREATE TABLE scoring_jobs (
    id uuid NOT NULL,
    name character varying(255),
    model_id uuid NOT NULL,
    source character varying(50) NOT NULL,
    source_id uuid NOT NULL,
    status character varying(50) NOT NULL DEFAULT 'QUEUED',
    row_count integer,
    slice_count integer,
    rows_scored integer NOT NULL DEFAULT 0,
    rows_flagged integer NOT NULL DEFAULT 0,
    rows_refused integer NOT NULL DEFAULT 0,
    error_message text,
    orchestration_id character varying(255) NOT NULL,
    created_by uuid,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    CONSTRAINT scoring_jobs_pkey PRIMARY KEY (id),
    CONSTRAINT scoring_jobs_completed_check CHECK (status <> 'COMPLETED' OR (rows_scored + rows_refused) = row_count),
    CONSTRAINT scoring_jobs_counts_check CHECK (rows_scored >= 0 AND rows_refused >= 0 AND rows_flagged >= 0 AND rows_flagged <= rows_scored AND (rows_scored + rows_refused) <= COALESCE(row_count, 0)),
    CONSTRAINT scoring_jobs_source_check CHECK (source IN ('dataset', 'upload')),
    CONSTRAINT scoring_jobs_status_check CHECK (status IN ('QUEUED', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')),
    CONSTRAINT scoring_jobs_created_by_fkey FOREIGN KEY (created_by) REFERENCES users(id),
    CONSTRAINT scoring_jobs_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE
);

CREATE INDEX idx_scoring_jobs_created ON scoring_jobs (created_at DESC);
CREATE INDEX idx_scoring_jobs_unfinished ON scoring_jobs (created_at) WHERE status IN ('QUEUED', 'RUNNING');

COMMENT ON TABLE scoring_jobs IS 'Files scored as a whole, with the model that was chosen when the job was asked for';
COMMENT ON COLUMN scoring_jobs.source_id IS 'The dataset or the direct upload; no foreign key, a job outlives it';

CREATE TABLE scoring_job_slices (
    job_id uuid NOT NULL,
    number integer NOT NULL,
    part character varying(500) NOT NULL,
    stored_at timestamp with time zone NOT NULL,
    CONSTRAINT scoring_job_slices_pkey PRIMARY KEY (job_id, number),
    CONSTRAINT scoring_job_slices_job_id_fkey FOREIGN KEY (job_id) REFERENCES scoring_jobs(id) ON DELETE CASCADE
);

COMMENT ON TABLE scoring_job_slices IS 'Slices whose predictions are stored: written in the same transaction';
COMMENT ON COLUMN scoring_job_slices.part IS 'Where in Blob the slice''s part of the result lies';

CREATE TABLE challengers (
    model_id uuid NOT NULL,
    started_at timestamp with time zone NOT NULL,
    started_by uuid,
    stopped_at timestamp with time zone,
    position_at timestamp with time zone NOT NULL,
    position_id uuid NOT NULL,
    CONSTRAINT challengers_pkey PRIMARY KEY (model_id),
    CONSTRAINT challengers_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE,
    CONSTRAINT challengers_started_by_fkey FOREIGN KEY (started_by) REFERENCES users(id)
);

COMMENT ON TABLE challengers IS 'Models that score in the shadow; stopped_at is NULL while they do';
COMMENT ON COLUMN challengers.position_at IS 'With position_id: the last prediction of the model in production that this one has followed';

CREATE TABLE shadow_predictions (
    challenger_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    prediction_id uuid NOT NULL,
    champion_id uuid NOT NULL,
    champion_score double precision NOT NULL,
    champion_is_fraud boolean NOT NULL,
    fraud_score double precision,
    is_fraud boolean,
    amount double precision,
    CONSTRAINT shadow_predictions_pkey PRIMARY KEY (challenger_id, created_at, prediction_id),
    CONSTRAINT shadow_predictions_scored_check CHECK ((fraud_score IS NULL) = (is_fraud IS NULL)),
    CONSTRAINT shadow_predictions_challenger_id_fkey FOREIGN KEY (challenger_id) REFERENCES challengers(model_id) ON DELETE CASCADE
);

COMMENT ON TABLE shadow_predictions IS 'What challengers would have decided, beside what was decided';
COMMENT ON COLUMN shadow_predictions.created_at IS 'That of the prediction';
COMMENT ON COLUMN shadow_predictions.fraud_score IS 'NULL where the transaction does not fit the challenger';

CREATE TABLE alert_rules (
    id uuid NOT NULL,
    name character varying(255) NOT NULL,
    metric character varying(100) NOT NULL,
    operator character varying(10) NOT NULL,
    threshold double precision NOT NULL,
    severity character varying(20) NOT NULL,
    model_id uuid,
    subject character varying(255),
    windows smallint NOT NULL DEFAULT 1,
    cool_down_minutes integer NOT NULL DEFAULT 0,
    auto_retrain boolean NOT NULL DEFAULT false,
    is_active boolean NOT NULL DEFAULT true,
    created_by uuid,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT alert_rules_pkey PRIMARY KEY (id),
    CONSTRAINT alert_rules_cool_down_minutes_check CHECK (cool_down_minutes >= 0),
    CONSTRAINT alert_rules_name_key UNIQUE (name),
    CONSTRAINT alert_rules_operator_check CHECK (operator IN ('gte', 'lte', 'eq', 'gt', 'lt')),
    CONSTRAINT alert_rules_severity_check CHECK (severity IN ('INFO', 'WARNING', 'CRITICAL')),
    CONSTRAINT alert_rules_windows_check CHECK (windows >= 1),
    CONSTRAINT alert_rules_created_by_fkey FOREIGN KEY (created_by) REFERENCES users(id),
    CONSTRAINT alert_rules_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE
);

CREATE INDEX idx_alert_rules_metric ON alert_rules (metric) WHERE is_active;

COMMENT ON TABLE alert_rules IS 'Limits that people set on figures of monitoring';
COMMENT ON COLUMN alert_rules.subject IS 'A feature or a protected attribute; NULL: whichever the figure is of';
COMMENT ON COLUMN alert_rules.windows IS 'So many windows in a row must break the rule, or keep it again';

CREATE TABLE alert_rule_states (
    rule_id uuid NOT NULL,
    model_id uuid NOT NULL,
    subject character varying(255) NOT NULL,
    broken_windows integer NOT NULL,
    last_window timestamp with time zone NOT NULL,
    CONSTRAINT alert_rule_states_pkey PRIMARY KEY (rule_id, model_id, subject),
    CONSTRAINT alert_rule_states_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE,
    CONSTRAINT alert_rule_states_rule_id_fkey FOREIGN KEY (rule_id) REFERENCES alert_rules(id) ON DELETE CASCADE
);

COMMENT ON TABLE alert_rule_states IS 'How many windows in a row have broken a rule';

CREATE TABLE alert_webhooks (
    id uuid NOT NULL,
    name character varying(100) NOT NULL,
    url character varying(2000) NOT NULL,
    minimum_severity character varying(20) NOT NULL,
    source_types jsonb,
    secret_version integer NOT NULL DEFAULT 1,
    rotated_at timestamp with time zone,
    is_active boolean NOT NULL DEFAULT true,
    created_by uuid,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT alert_webhooks_pkey PRIMARY KEY (id),
    CONSTRAINT alert_webhooks_minimum_severity_check CHECK (minimum_severity IN ('INFO', 'WARNING', 'CRITICAL')),
    CONSTRAINT alert_webhooks_name_key UNIQUE (name),
    CONSTRAINT alert_webhooks_created_by_fkey FOREIGN KEY (created_by) REFERENCES users(id)
);

COMMENT ON TABLE alert_webhooks IS 'Where alerts are sent; the secrets that sign are derived, not stored';

CREATE TABLE alert_deliveries (
    id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    alert_id uuid,
    event character varying(50) NOT NULL,
    payload jsonb NOT NULL,
    attempts smallint NOT NULL DEFAULT 0,
    next_attempt_at timestamp with time zone,
    delivered_at timestamp with time zone,
    last_status smallint,
    last_error text,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT alert_deliveries_pkey PRIMARY KEY (id),
    CONSTRAINT alert_deliveries_alert_id_fkey FOREIGN KEY (alert_id) REFERENCES alerts(id) ON DELETE CASCADE,
    CONSTRAINT alert_deliveries_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES alert_webhooks(id) ON DELETE CASCADE
);

CREATE INDEX idx_alert_deliveries_due ON alert_deliveries (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX idx_alert_deliveries_alert ON alert_deliveries (alert_id);
CREATE INDEX idx_alert_deliveries_webhook ON alert_deliveries (webhook_id, created_at DESC);

COMMENT ON TABLE alert_deliveries IS 'Messages of alerts, written with the change that they tell';
COMMENT ON COLUMN alert_deliveries.next_attempt_at IS 'NULL once it has arrived or was given up';

CREATE TABLE idempotency_keys (
    caller character varying(255) NOT NULL,
    function character varying(100) NOT NULL,
    key character varying(255) NOT NULL,
    fingerprint bytea NOT NULL,
    claim uuid NOT NULL,
    claimed_until timestamp with time zone NOT NULL,
    settled_at timestamp with time zone,
    resource_id uuid,
    status smallint,
    headers jsonb,
    body bytea,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (caller, function, key),
    CONSTRAINT idempotency_keys_answer_check CHECK ((status IS NULL) = (body IS NULL) AND (status IS NULL) = (headers IS NULL)),
    CONSTRAINT idempotency_keys_claim_key UNIQUE (claim)
);

CREATE INDEX idx_idempotency_keys_expires_at ON idempotency_keys (expires_at);

COMMENT ON TABLE idempotency_keys IS 'Requests that came with an Idempotency-Key: who may act on each, whether it was done, what was answered';
COMMENT ON COLUMN idempotency_keys.fingerprint IS 'SHA-256 of path, query and body';
COMMENT ON COLUMN idempotency_keys.claim IS 'The run that may act; an overdue one is replaced, and can then commit nothing any more';
COMMENT ON COLUMN idempotency_keys.settled_at IS 'Set in the transaction of the change: it was done';
COMMENT ON COLUMN idempotency_keys.resource_id IS 'What the change made or moved';

CREATE TABLE prediction_rollups (
    model_id uuid NOT NULL,
    hour timestamp with time zone NOT NULL,
    rows integer NOT NULL,
    counts bytea NOT NULL,
    cube bytea NOT NULL,
    score_sums bytea NOT NULL,
    latencies bytea NOT NULL,
    CONSTRAINT prediction_rollups_pkey PRIMARY KEY (model_id, hour),
    CONSTRAINT prediction_rollups_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE
);

COMMENT ON TABLE prediction_rollups IS 'What was predicted in an hour, counted by cell; packed as shared/monitoring/rollup.py says';
COMMENT ON COLUMN prediction_rollups.counts IS 'Rows by cell of each monitored column';
COMMENT ON COLUMN prediction_rollups.cube IS 'Rows by protected groups and score cell together';
COMMENT ON COLUMN prediction_rollups.score_sums IS 'Sum of the scores of each score cell';
COMMENT ON COLUMN prediction_rollups.latencies IS 'Rows by cell of the latency';

CREATE TABLE label_rollups (
    model_id uuid NOT NULL,
    hour timestamp with time zone NOT NULL,
    cube bytea NOT NULL,
    CONSTRAINT label_rollups_pkey PRIMARY KEY (model_id, hour),
    CONSTRAINT label_rollups_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE
);

COMMENT ON TABLE label_rollups IS 'Labelled predictions of an hour by protected groups, score cell and label, as labels are known now';

CREATE TABLE rollup_cursors (
    model_id uuid NOT NULL,
    predictions_until timestamp with time zone NOT NULL,
    labels_until bigint NOT NULL DEFAULT 0,
    CONSTRAINT rollup_cursors_pkey PRIMARY KEY (model_id),
    CONSTRAINT rollup_cursors_model_id_fkey FOREIGN KEY (model_id) REFERENCES ml_models(id) ON DELETE CASCADE
);

COMMENT ON TABLE rollup_cursors IS 'How far the rollups of a model go';
COMMENT ON COLUMN rollup_cursors.predictions_until IS 'Predictions made before this are counted';
COMMENT ON COLUMN rollup_cursors.labels_until IS 'Rows of prediction_labels up to this id are counted';

CREATE TABLE predictions_archives (
    month date NOT NULL,
    state character varying(20) NOT NULL,
    predictions bigint NOT NULL,
    labels bigint NOT NULL,
    digest text NOT NULL,
    parts jsonb NOT NULL DEFAULT '[]'::jsonb,
    manifest_sha256 text,
    started_at timestamp with time zone NOT NULL DEFAULT now(),
    verified_at timestamp with time zone,
    archived_at timestamp with time zone,
    restored_at timestamp with time zone,
    kept_until timestamp with time zone,
    CONSTRAINT predictions_archives_pkey PRIMARY KEY (month),
    CONSTRAINT predictions_archives_manifest_check CHECK (state = 'EXPORTING' OR manifest_sha256 IS NOT NULL),
    CONSTRAINT predictions_archives_month_check CHECK (EXTRACT(day FROM month) = 1::numeric),
    CONSTRAINT predictions_archives_state_check CHECK (state IN ('EXPORTING', 'VERIFIED', 'ARCHIVED', 'RESTORING', 'RESTORED'))
);

COMMENT ON TABLE predictions_archives IS 'Months of predictions that are in Blob, or on their way there or back';
COMMENT ON COLUMN predictions_archives.digest IS 'digest_predictions_month when the export began';
COMMENT ON COLUMN predictions_archives.parts IS 'The files written so far: kind, path, rows, bytes, sha256 and bounds';
COMMENT ON COLUMN predictions_archives.kept_until IS 'A restored month stays in the database until then';

CREATE TABLE retraining_jobs (
    id uuid NOT NULL,
    champion_id uuid NOT NULL,
    alert_id uuid,
    reason text NOT NULL,
    options jsonb NOT NULL,
    status character varying(50) NOT NULL,
    dataset_id uuid,
    feature_set_id uuid,
    training_job_id uuid,
    challenger_id uuid,
    data jsonb,
    verdict jsonb,
    error_message text,
    orchestration_id character varying(255) NOT NULL,
    approval_until timestamp with time zone,
    decided_by uuid,
    decision_reason text,
    created_by uuid,
    created_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    CONSTRAINT retraining_jobs_pkey PRIMARY KEY (id),
    CONSTRAINT retraining_jobs_status_check CHECK (status IN ('PENDING', 'ASSEMBLING', 'ENGINEERING', 'TRAINING', 'JUDGING', 'AWAITING_APPROVAL', 'PROMOTED', 'REJECTED', 'FAILED', 'CANCELLED')),
    CONSTRAINT retraining_jobs_alert_id_fkey FOREIGN KEY (alert_id) REFERENCES alerts(id) ON DELETE SET NULL,
    CONSTRAINT retraining_jobs_challenger_id_fkey FOREIGN KEY (challenger_id) REFERENCES ml_models(id) ON DELETE SET NULL,
    CONSTRAINT retraining_jobs_champion_id_fkey FOREIGN KEY (champion_id) REFERENCES ml_models(id),
    CONSTRAINT retraining_jobs_created_by_fkey FOREIGN KEY (created_by) REFERENCES users(id),
    CONSTRAINT retraining_jobs_dataset_id_fkey FOREIGN KEY (dataset_id) REFERENCES datasets(id) ON DELETE SET NULL,
    CONSTRAINT retraining_jobs_decided_by_fkey FOREIGN KEY (decided_by) REFERENCES users(id),
    CONSTRAINT retraining_jobs_feature_set_id_fkey FOREIGN KEY (feature_set_id) REFERENCES feature_sets(id) ON DELETE SET NULL,
    CONSTRAINT retraining_jobs_training_job_id_fkey FOREIGN KEY (training_job_id) REFERENCES training_jobs(id) ON DELETE SET NULL
);

CREATE UNIQUE INDEX idx_retraining_jobs_active ON retraining_jobs (champion_id) WHERE status IN ('PENDING', 'ASSEMBLING', 'ENGINEERING', 'TRAINING', 'JUDGING', 'AWAITING_APPROVAL');
CREATE INDEX idx_retraining_jobs_created ON retraining_jobs (created_at DESC, id);

COMMENT ON TABLE retraining_jobs IS 'Training a model again on what labels have told since';
COMMENT ON COLUMN retraining_jobs.champion_id IS 'The model that is trained again';
COMMENT ON COLUMN retraining_jobs.data IS 'What the new dataset was made of: rows, labels, window';
COMMENT ON COLUMN retraining_jobs.verdict IS 'Champion and challenger on the same rows, and each rule with its numbers';

CREATE TABLE scoring_outcomes (
    hour timestamp with time zone NOT NULL,
    requests bigint NOT NULL,
    failed bigint NOT NULL,
    CONSTRAINT scoring_outcomes_pkey PRIMARY KEY (hour),
    CONSTRAINT scoring_outcomes_check CHECK (failed <= requests)
);

COMMENT ON TABLE scoring_outcomes IS 'Transactions sent to be scored, by hour';
COMMENT ON COLUMN scoring_outcomes.failed IS 'Refused because something of ours was away, not of the caller''s fault';

ALTER TABLE alerts ADD CONSTRAINT alerts_rule_id_fkey FOREIGN KEY (rule_id) REFERENCES alert_rules(id) ON DELETE SET NULL;

CREATE OR REPLACE FUNCTION ensure_predictions_partitions(from_month date, months integer)
 RETURNS SETOF text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET lock_timeout TO '2s'
AS $function$
DECLARE
    first_day date;
    partition_name text;
    attached boolean;
BEGIN
    IF from_month IS NULL OR NOT isfinite(from_month) OR months IS NULL OR months NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION 'from_month must be a date and months between 0 and 120, not % and %', from_month, months
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR month_offset IN 0 .. months - 1 LOOP
        first_day := (date_trunc('month', from_month::timestamp) + make_interval(months => month_offset))::date;
        partition_name := 'predictions_' || to_char(first_day, 'YYYY_MM');
        -- First without a lock: the usual call finds everything there. Then again under the lock ATTACH takes anyway;
        -- getting it also brings this session's view of the catalogue up to date, whatever its isolation level.
        FOR attempt IN 1 .. 2 LOOP
            SELECT EXISTS (
                SELECT FROM pg_partition_ancestors(to_regclass(partition_name)) WHERE relid = 'predictions'::regclass
            ) INTO attached;
            EXIT WHEN attached OR attempt = 2;
            LOCK TABLE predictions IN SHARE UPDATE EXCLUSIVE MODE;
        END LOOP;
        CONTINUE WHEN attached;
        IF EXISTS (SELECT FROM predictions_archives WHERE month = first_day AND state IN ('ARCHIVED', 'RESTORING')) THEN
            RAISE EXCEPTION 'the predictions of % are archived', to_char(first_day, 'YYYY-MM')
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Restore the month first.';
        END IF;
        IF to_regclass(partition_name) IS NOT NULL THEN
            RAISE EXCEPTION 'table % exists and is not attached to predictions', partition_name
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = 'It is being archived, or was left over by hand: drop it or attach it.';
        END IF;
        -- ATTACH locks predictions against other schema changes only, readers and writers go on;
        -- CREATE TABLE ... PARTITION OF would stop them all.
        EXECUTE format('CREATE TABLE %I (LIKE predictions INCLUDING ALL)', partition_name);
        EXECUTE format(
            'ALTER TABLE predictions ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            partition_name, first_day, (first_day + interval '1 month')::date
        );
        RETURN NEXT partition_name;
    END LOOP;
END
$function$;

CREATE OR REPLACE FUNCTION read_entity_events(layout_id smallint, entities smallint[], keys bigint[], befores timestamp with time zone[], span interval, history_limit integer)
 RETURNS TABLE(asked integer, events bytea)
 LANGUAGE plpgsql
 STABLE
 SET plan_cache_mode TO 'force_generic_plan'
 SET jit TO 'off'
 SET enable_sort TO 'off'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
AS $function$
DECLARE
    newest timestamptz := (SELECT max(b) FROM unnest(befores) AS b);
    oldest timestamptz := (SELECT min(b) FROM unnest(befores) AS b) - span;
BEGIN
    RETURN QUERY
    SELECT pair.position::integer, history.events
    FROM unnest(entities, keys, befores) WITH ORDINALITY AS pair (entity, key, before, position)
    CROSS JOIN LATERAL (
        SELECT string_agg(
            timestamptz_send(event.occurred_at) || timestamptz_send(event.known_at) || event.payload
            || int2send(event.label),
            ''::bytea
        ) AS events
        FROM (
            SELECT e.occurred_at, e.known_at, e.payload, e.label
            FROM entity_events AS e
            WHERE e.layout = layout_id
              AND e.entity = pair.entity
              AND e.key = pair.key
              AND e.occurred_at < pair.before
              AND e.occurred_at >= pair.before - span
              -- Known before the first row, so that other months are not even opened.
              AND e.occurred_at < newest
              AND e.occurred_at >= oldest
            ORDER BY e.occurred_at DESC, e.id_hash DESC NULLS LAST
            LIMIT history_limit
        ) AS event
    ) AS history
    WHERE history.events IS NOT NULL;
END
$function$;

CREATE OR REPLACE FUNCTION ensure_entity_events_partitions(from_month date, months integer)
 RETURNS SETOF text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET lock_timeout TO '2s'
AS $function$
DECLARE
    first_day date;
    partition_name text;
    attached boolean;
BEGIN
    IF from_month IS NULL OR NOT isfinite(from_month) OR months IS NULL OR months NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION 'from_month must be a date and months between 0 and 120, not % and %', from_month, months
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR month_offset IN 0 .. months - 1 LOOP
        first_day := (date_trunc('month', from_month::timestamp) + make_interval(months => month_offset))::date;
        partition_name := 'entity_events_' || to_char(first_day, 'YYYY_MM');
        -- As ensure_predictions_partitions: first without a lock, then again under the lock that ATTACH takes anyway.
        FOR attempt IN 1 .. 2 LOOP
            SELECT EXISTS (
                SELECT FROM pg_partition_ancestors(to_regclass(partition_name)) WHERE relid = 'entity_events'::regclass
            ) INTO attached;
            EXIT WHEN attached OR attempt = 2;
            LOCK TABLE entity_events IN SHARE UPDATE EXCLUSIVE MODE;
        END LOOP;
        CONTINUE WHEN attached;
        -- Vacuumed after every 2 % of new rows: only pages known to be all visible are read from the index alone.
        EXECUTE format(
            'CREATE TABLE %I (LIKE entity_events INCLUDING ALL) WITH '
            '(autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_insert_threshold = 10000)',
            partition_name
        );
        EXECUTE format(
            'ALTER TABLE entity_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            partition_name, first_day, (first_day + interval '1 month')::date
        );
        RETURN NEXT partition_name;
    END LOOP;
END
$function$;

CREATE OR REPLACE FUNCTION drop_entity_events_partitions(before date)
 RETURNS SETOF text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET lock_timeout TO '250ms'
AS $function$
DECLARE
    partition_name text;
BEGIN
    IF before IS NULL OR NOT isfinite(before) THEN
        RAISE EXCEPTION 'before must be a date, not %', before USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR partition_name IN
        SELECT relname
        FROM pg_partition_tree('entity_events') AS tree
        JOIN pg_class ON pg_class.oid = tree.relid
        WHERE tree.isleaf
          AND relname ~ '^entity_events_\d{4,}_\d\d$'
          AND to_date(substring(relname FROM '\d.*'), 'YYYY_MM') + interval '1 month' <= before
        ORDER BY relname
    LOOP
        -- Both need the table for themselves for a moment; readers would queue behind a longer wait for it.
        EXECUTE format('ALTER TABLE entity_events DETACH PARTITION %I', partition_name);
        EXECUTE format('DROP TABLE %I', partition_name);
        RETURN NEXT partition_name;
    END LOOP;
END
$function$;

CREATE OR REPLACE FUNCTION audit_entry_hash(previous bytea, sequence bigint, entry audit_logs)
 RETURNS bytea
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
SELECT sha256(
    previous || convert_to(string_agg(coalesce(octet_length(field) || ':' || field, '-'), '' ORDER BY position), 'UTF8')
)
FROM unnest(ARRAY[
    sequence::text, entry.id::text, entry.user_id::text, entry.user_email, entry.action, entry.resource_type,
    entry.resource_id::text, entry.old_values::text, entry.new_values::text, entry.metadata::text,
    entry.ip_address::text, entry.user_agent, entry.request_id,
    to_char(entry.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')
]) WITH ORDINALITY AS fields(field, position)
$function$;

CREATE OR REPLACE FUNCTION chain_audit_entry()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
DECLARE
    head audit_chain;
BEGIN
    PERFORM pg_advisory_xact_lock(7311842027);  -- one committing transaction at a time, until its commit is durable
    SELECT * INTO head FROM audit_chain ORDER BY sequence DESC LIMIT 1;
    INSERT INTO audit_chain (sequence, entry_id, hash)
    VALUES (
        coalesce(head.sequence, 0) + 1, NEW.id,
        audit_entry_hash(coalesce(head.hash, ''), coalesce(head.sequence, 0) + 1, NEW)
    );
    RETURN NULL;
END
$function$;

CREATE OR REPLACE FUNCTION refuse_audit_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$function$;

CREATE OR REPLACE FUNCTION predictions_month_state(month date)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'public', 'pg_temp'
AS $function$
SELECT CASE
    WHEN to_regclass('predictions_' || to_char(month, 'YYYY_MM')) IS NULL THEN 'missing'
    ELSE coalesce((
        SELECT CASE WHEN inhdetachpending THEN 'detaching' ELSE 'attached' END
        FROM pg_inherits
        WHERE inhrelid = to_regclass('predictions_' || to_char(month, 'YYYY_MM'))
          AND inhparent = 'predictions'::regclass
    ), 'detached')
END
$function$;

CREATE OR REPLACE FUNCTION read_predictions_month(month date, after uuid, row_limit integer)
 RETURNS SETOF predictions
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT * FROM %I WHERE id > $1 ORDER BY id LIMIT $2', 'predictions_' || to_char(month, 'YYYY_MM')
    ) USING after, row_limit;
END
$function$;

CREATE OR REPLACE FUNCTION digest_predictions_month(month date, OUT predictions bigint, OUT labels bigint, OUT digest text)
 RETURNS record
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO'
 SET extra_float_digits TO '1'
 SET bytea_output TO 'hex'
AS $function$
DECLARE
    of_predictions numeric;
    of_labels numeric;
BEGIN
    EXECUTE format(
        'SELECT count(*), coalesce(sum(hashtextextended(p::text, 0)), 0) FROM %I AS p',
        'predictions_' || to_char(month, 'YYYY_MM')
    ) INTO predictions, of_predictions;
    SELECT count(*), coalesce(sum(hashtextextended(l::text, 0)), 0)
    INTO labels, of_labels
    FROM prediction_labels AS l
    WHERE prediction_created_at >= month::timestamp AT TIME ZONE 'UTC'
      AND prediction_created_at < (month + interval '1 month') AT TIME ZONE 'UTC';
    digest := of_predictions || '/' || of_labels;
END
$function$;

CREATE OR REPLACE FUNCTION detach_predictions_month(month date)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET lock_timeout TO '250ms'
AS $function$
DECLARE
    partition_name text := 'predictions_' || to_char(month, 'YYYY_MM');
BEGIN
    IF NOT EXISTS (SELECT FROM predictions_archives AS a WHERE a.month = $1 AND a.state = 'VERIFIED') THEN
        RAISE EXCEPTION 'the archive of % is not verified', month USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    CASE predictions_month_state(month)
        -- Needs the table for itself for a moment; others would queue behind a longer wait for it.
        WHEN 'attached' THEN EXECUTE format('ALTER TABLE predictions DETACH PARTITION %I', partition_name);
        WHEN 'detaching' THEN EXECUTE format('ALTER TABLE predictions DETACH PARTITION %I FINALIZE', partition_name);
        ELSE NULL;
    END CASE;
END
$function$;

CREATE OR REPLACE FUNCTION drop_predictions_month(month date)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
DECLARE
    partition_name text := 'predictions_' || to_char(month, 'YYYY_MM');
    archive predictions_archives;
BEGIN
    SELECT * INTO archive FROM predictions_archives AS a WHERE a.month = $1 FOR UPDATE;
    IF archive.state IS DISTINCT FROM 'VERIFIED' OR predictions_month_state(month) <> 'detached' THEN
        RAISE EXCEPTION 'the month % is not both verified and detached', month
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- Nobody finds a detached month, to label it or to add to it; should somebody write to its table, not from here on.
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', partition_name);
    IF (SELECT d.digest FROM digest_predictions_month(month) AS d) <> archive.digest THEN
        RETURN false;
    END IF;
    DELETE FROM prediction_labels
    WHERE prediction_created_at >= month::timestamp AT TIME ZONE 'UTC'
      AND prediction_created_at < (month + interval '1 month') AT TIME ZONE 'UTC';
    EXECUTE format('DROP TABLE %I', partition_name);
    UPDATE predictions_archives AS a SET state = 'ARCHIVED', archived_at = now(), kept_until = NULL WHERE a.month = $1;
    RETURN true;
END
$function$;

COMMENT ON FUNCTION ensure_predictions_partitions(date,integer) IS 'Creates the missing monthly partitions of predictions, UTC months from from_month on; returns their names';

COMMENT ON FUNCTION read_entity_events(smallint,smallint[],bigint[],timestamp with time zone[],interval,integer) IS 'The newest events of each (entity, key) within span before a moment: one bytea a pair, newest first';

COMMENT ON FUNCTION ensure_entity_events_partitions(date,integer) IS 'Creates the missing monthly partitions of entity_events, UTC months from from_month on; returns their names';

COMMENT ON FUNCTION drop_entity_events_partitions(date) IS 'Drops the partitions of entity_events that end on or before a date; returns their names. 55P03 when busy';

COMMENT ON FUNCTION audit_entry_hash(bytea,bigint,audit_logs) IS 'The seal of an entry that follows the seal previous (empty for the first)';

COMMENT ON FUNCTION chain_audit_entry() IS 'Seals an entry when its transaction commits';

COMMENT ON FUNCTION refuse_audit_change() IS 'Keeps the audit log and its chain as they were written';

COMMENT ON FUNCTION predictions_month_state(date) IS 'Whether the partition of a month is attached, detaching (an interrupted DETACH CONCURRENTLY), detached or missing';

COMMENT ON FUNCTION read_predictions_month(date,uuid,integer) IS 'Rows of a month behind an id, in order of ids; whether the month is attached or not';

COMMENT ON FUNCTION digest_predictions_month(date) IS 'How many predictions and labels a month has, and a number that changes with any of them';

COMMENT ON FUNCTION detach_predictions_month(date) IS 'Detaches a verified month for any role, or finishes an interrupted DETACH CONCURRENTLY. 55P03 when busy';

COMMENT ON FUNCTION drop_predictions_month(date) IS 'Drops a detached month and its labels if they are what was verified; false, and nothing dropped, if they are not';

CREATE TRIGGER audit_chain_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON audit_chain FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER audit_logs_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON audit_logs FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

CREATE CONSTRAINT TRIGGER audit_logs_chained AFTER INSERT ON audit_logs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chain_audit_entry();
