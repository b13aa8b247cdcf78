"""How an incident was closed, and when it was last changed; an index finds what was closed about the same subject."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("incidents", sa.Column("outcome", sa.String(length=32), nullable=False, server_default=""))
    op.add_column(
        "incidents",
        sa.Column("closed_by", sa.String(length=64), nullable=False, server_default=""),
    )
    op.add_column("incidents", sa.Column("changed_ms", sa.BigInteger(), nullable=True))
    op.create_index("ix_incidents_subject", "incidents", ["school_id", "subject"])


def downgrade() -> None:
    raise NotImplementedError("a school's log is not taken back to an older schema: restore a backup instead")
