"""What the server remembers: users, tunnels, keys, the audit log, and our own small tables.

Used by accounts and the control plane; the road never comes here. Queries only: the rules live above.
"""
