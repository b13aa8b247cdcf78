"""Which applications ran on devices: the school's assessments are held against them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "applications_seen",
        sa.Column("school_id", sa.String(length=64), nullable=False),
        sa.Column("identity", sa.String(length=200), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("school_id", "identity", name=op.f("pk_applications_seen")),
    )


def downgrade() -> None:
    raise NotImplementedError("a school's log is not taken back to an older schema: restore a backup instead")
