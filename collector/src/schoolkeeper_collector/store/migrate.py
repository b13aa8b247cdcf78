"""Brings both databases to the schema of ``tables.py``, by the migrations beside this file (Alembic)."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from schoolkeeper_collector.store.database import Store, open_engine

MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaError(Exception):
    """The database is not at the schema that this version reads; says which and how to get there."""


def migrate(url: str, keystore_url: str | None = None) -> None:
    """Runs every outstanding migration of the store and, when given, of the keystore; safe to repeat."""
    upgrade(url, "main")
    if keystore_url is not None:
        migrate_keystore(keystore_url)


def migrate_keystore(url: str) -> None:
    upgrade(url, "keystore")


def check_schema(store: Store) -> None:
    """Raises ``SchemaError`` unless both databases are at the newest migration."""
    for engine, name in ((store.engine, "main"), (store.keystore.engine, "keystore")):
        wanted = ScriptDirectory.from_config(config_for(name)).get_current_head()
        with engine.connect() as connection:
            found = None
            if inspect(connection).has_table("alembic_version"):
                found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            connection.rollback()
        if found != wanted:
            raise SchemaError(
                f"the {name} database at {engine.url.render_as_string(hide_password=True)} has schema "
                f"{found or 'none'}, this version needs {wanted}: run `schoolkeeper-collector migrate`, "
                "or `init` for a new school"
            )


def config_for(name: str) -> Config:
    """Alembic's view of one database's folder of migrations."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS / name).replace("%", "%%"))
    return config


def upgrade(url: str, name: str) -> None:
    """Brings one database, ``main`` or ``keystore``, to its newest migration."""
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            config = config_for(name)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    finally:
        engine.dispose()
