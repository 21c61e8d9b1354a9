"""What Alembic runs: every step, on the connection and in the transaction that `storage.migrate` has opened.

Rule: nothing is committed here; the caller commits when all of it went well.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"], notes=context.config.attributes["notes"])
context.run_migrations()
