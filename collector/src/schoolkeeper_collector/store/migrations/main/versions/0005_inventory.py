"""Devices that another system told of, and when."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "inventory_sources",
        sa.Column("school_id", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("told_ms", sa.BigInteger(), nullable=False),
        sa.Column("imported_ms", sa.BigInteger(), nullable=False),
        sa.Column("imported_by", sa.String(length=64), nullable=False),
        sa.Column("devices", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("school_id", "source", name=op.f("pk_inventory_sources")),
    )
    op.create_table(
        "inventory_devices",
        sa.Column("school_id", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("device_key", sa.Text(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("operating_system", sa.Text(), nullable=False),
        sa.Column("last_sync_ms", sa.BigInteger(), nullable=True),
        sa.Column("encryption", sa.String(length=16), nullable=False),
        sa.Column("compliance", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("school_id", "source", "device_key", name=op.f("pk_inventory_devices")),
    )


def downgrade() -> None:
    raise NotImplementedError("a school's log is not taken back to an older schema: restore a backup instead")
