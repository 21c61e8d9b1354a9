"""The history of the database's shape. Used by `storage.migrate` alone, through Alembic.

Rule: a revision that was released is never edited; it says its tables itself and imports no model.
"""
