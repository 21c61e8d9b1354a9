"""The database as administrators see it: tables, a query box that can only read, and a backup to take away.

Used by the admin API and pages. Rule (security.md D1): nothing that is typed there changes, writes or reads a file,
shows a secret column or runs for more than a second.
"""
