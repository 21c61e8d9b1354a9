"""The server's own pages, and the agent in the process that serves them through the same road as every tunnel.

They run behind the edge: one public port, one strict parser in front of everything.
"""
