"""The command line. It reads options, builds what they describe, runs it, and turns its end into an exit status.

Exit status: 0 ended by its user, 1 an error, 2 wrong usage, 3 refused by the server, 4 replaced by another client.
"""
