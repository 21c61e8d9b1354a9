"""Load programs, each run as a process of its own by `bench.loads`.

Plain blocking sockets and one selector: the load must cost less than what it measures. One JSON line on stdout.
"""
