"""What an incident rests on is held; legal holds; which tombstone says what went of a leaf."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "erased",
        sa.Column("school_id", sa.String(length=64), nullable=False),
        sa.Column("leaf_index", sa.BigInteger(), nullable=False),
        sa.Column("tombstone_index", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("school_id", "leaf_index", "tombstone_index", name=op.f("pk_erased")),
    )
    op.create_table(
        "evidence",
        sa.Column("school_id", sa.String(length=64), nullable=False),
        sa.Column("event_no", sa.BigInteger(), nullable=False),
        sa.Column("alert_id", sa.LargeBinary(length=16), nullable=False),
        sa.PrimaryKeyConstraint("school_id", "event_no", "alert_id", name=op.f("pk_evidence")),
    )
    with op.batch_alter_table("evidence", schema=None) as batch_op:
        batch_op.create_index("ix_evidence_school_id_alert_id", ["school_id", "alert_id"], unique=False)

    op.create_table(
        "holds",
        sa.Column("school_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("object_type", sa.String(length=16), nullable=False),
        sa.Column("object_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=False),
        sa.Column("placed_by", sa.String(length=64), nullable=False),
        sa.Column("placed_ms", sa.BigInteger(), nullable=False),
        sa.Column("released_ms", sa.BigInteger(), nullable=True),
        sa.Column("released_by", sa.String(length=64), nullable=False),
        sa.Column("released_because", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("school_id", "number", name=op.f("pk_holds")),
    )
    with op.batch_alter_table("holds", schema=None) as batch_op:
        batch_op.create_index("ix_holds_school_id_object_id", ["school_id", "object_id"], unique=False)

    op.create_table(
        "trims",
        sa.Column("school_id", sa.String(length=64), nullable=False),
        sa.Column("retention", sa.String(length=32), nullable=False),
        sa.Column("kinds", sa.LargeBinary(length=32), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("school_id", "retention", "kinds", name=op.f("pk_trims")),
    )
    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.add_column(sa.Column("closed_ms", sa.BigInteger(), nullable=True))

    _name_evidence(op.get_bind())
    # When those were closed was not noted; nothing closed them but taking back within ten seconds.
    op.execute("UPDATE incidents SET closed_ms = raised_ms WHERE state = 'closed'")


def _name_evidence(connection: sa.Connection) -> None:
    """What the findings so far rest on."""
    named = {
        (row.school_id, number, bytes(row.alert_id))
        for row in connection.execute(sa.text("SELECT school_id, alert_id, evidence FROM findings"))
        for number in json.loads(row.evidence)["events"]
    }
    if named:
        connection.execute(
            sa.text("INSERT INTO evidence (school_id, event_no, alert_id) VALUES (:school, :event, :alert)"),
            [{"school": school, "event": event, "alert": alert} for school, event, alert in sorted(named)],
        )


def downgrade() -> None:
    raise NotImplementedError("a school's log is not taken back to an older schema: restore a backup instead")
