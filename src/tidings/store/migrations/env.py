"""Alembic's entry point: runs the migrations on the connection of `tidings.store.migrate`, inside its transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
