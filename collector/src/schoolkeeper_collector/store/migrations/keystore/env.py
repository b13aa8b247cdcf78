"""Run by Alembic, with the connection that ``store/migrate.py`` hands over."""

from alembic import context

from schoolkeeper_collector.store.tables import KEYSTORE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=KEYSTORE,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
