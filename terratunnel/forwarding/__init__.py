"""From a stream to a service and back: the agent's half of the road.

Used by the client, and by the server for its own pages.
Nothing here is sent to the service twice, and nothing is kept beyond the streams' windows.
"""
