"""What tests stand on: a clock that moves when told, recorders, joined links and a service that follows a script.

Used by our own tests, and open to yours. Rule: both ends are real; nothing sleeps, and nothing of ours is replaced.
"""
