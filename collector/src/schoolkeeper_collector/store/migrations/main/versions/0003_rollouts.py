"""How far a new policy is, and who asked for an exception."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rollouts",
        sa.Column("school_id", sa.String(length=64), nullable=False),
        sa.Column("rollout_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("device_group", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("open_rings", sa.Integer(), nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("measured_from_ms", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("school_id", "rollout_id", name=op.f("pk_rollouts")),
    )
    op.create_table(
        "rollout_log",
        sa.Column(
            "entry_no",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("school_id", sa.String(length=64), nullable=False),
        sa.Column("rollout_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("open_rings", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("entry_no", name=op.f("pk_rollout_log")),
    )
    with op.batch_alter_table("rollout_log", schema=None) as batch_op:
        batch_op.create_index(
            "ix_rollout_log_school_id_rollout_id", ["school_id", "rollout_id"], unique=False
        )

    op.create_table(
        "exception_requests",
        sa.Column("school_id", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("device_no", sa.BigInteger(), nullable=False),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("rule_id", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("asked_by", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.String(length=64), nullable=False),
        sa.Column("decided_because", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("school_id", "request_id", name=op.f("pk_exception_requests")),
    )
    with op.batch_alter_table("exception_requests", schema=None) as batch_op:
        batch_op.create_index(
            "ix_exception_requests_school_id_state", ["school_id", "state", "asked_ms"], unique=False
        )


def downgrade() -> None:
    raise NotImplementedError("a school's log is not taken back to an older schema: restore a backup instead")
