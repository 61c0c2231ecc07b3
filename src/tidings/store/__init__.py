"""The store: SQLite and PostgreSQL behind SQLAlchemy Core, migrations, the ledger."""
