"""Who was shown which version of the rules, put it off, agreed to it: as devices report it."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agreements_seen",
        sa.Column("school_id", sa.String(length=64), nullable=False),
        sa.Column("pseudonym", sa.LargeBinary(length=16), nullable=False),
        sa.Column("document", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("band", sa.String(length=16), nullable=False),
        sa.Column("shown_ms", sa.BigInteger(), nullable=True),
        sa.Column("put_off", sa.Integer(), nullable=False),
        sa.Column("often", sa.Boolean(), nullable=False),
        sa.Column("put_off_ms", sa.BigInteger(), nullable=True),
        sa.Column("agreed_ms", sa.BigInteger(), nullable=True),
        sa.Column("agreed_by", sa.String(length=16), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "school_id", "pseudonym", "document", "version", name=op.f("pk_agreements_seen")
        ),
    )


def downgrade() -> None:
    raise NotImplementedError("a school's log is not taken back to an older schema: restore a backup instead")
