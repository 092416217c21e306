"""Alembic migrations of ground truth. Views are never migrated, only rebuilt."""
