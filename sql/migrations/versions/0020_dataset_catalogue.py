"""datasets.quality, a word index over the catalogue, and indexes that give its pages in each order.

Reason: what is wrong with a dataset is found once, while its file is read, and belongs to its row. The catalogue is
searched by words of name, description and column names; what is long in a row is kept beside it, so that the rows
that a search finds lie on few pages. No extension is needed for that: a role without the right to
create one can still migrate. The pages' indexes hold every column that is filtered on, so a page far back is found
without reading a row before it.
"""

from __future__ import annotations

from alembic import op

from sql.migrations.statements import execute, limit_waiting

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

COLUMN = """
ALTER TABLE datasets ADD COLUMN IF NOT EXISTS quality jsonb;
COMMENT ON COLUMN datasets.quality IS
    'What was found wrong or worth knowing when the file was read, each finding with its severity';
ALTER TABLE datasets SET (toast_tuple_target = 128)
"""

# The words of name, description and column names; underscores and dots separate words, as they do in column names.
WORDS = """
to_tsvector('simple', regexp_replace(lower(
    name || ' ' || coalesce(description, '') || ' '
    || coalesce(jsonb_path_query_array(schema, '$.columns[*].name')::text, '')
), '[^[:alnum:]]+', ' ', 'g'))
"""

INDEXES = {
    "idx_datasets_words": f"USING gin ({WORDS})",
    "idx_datasets_by_time": "(created_at DESC, id DESC) INCLUDE (status, name, row_count, created_by)",
    "idx_datasets_by_name": "(name, id) INCLUDE (status, row_count, created_by, created_at)",
    "idx_datasets_by_rows": "(row_count, id) INCLUDE (status, name, created_by, created_at)",
}


def upgrade() -> None:
    limit_waiting()
    # The concurrent indexes commit what came before them. Were they interrupted, the next run finds the rest there.
    execute(COLUMN)
    with op.get_context().autocommit_block():
        for name, definition in INDEXES.items():
            execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            execute(f"CREATE INDEX CONCURRENTLY {name} ON datasets {definition}")


def downgrade() -> None:
    limit_waiting()
    for name in INDEXES:
        execute(f"DROP INDEX {name}")
    execute("ALTER TABLE datasets RESET (toast_tuple_target); ALTER TABLE datasets DROP COLUMN quality")
