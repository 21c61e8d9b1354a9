"""The client: keeps a link to a server, forwards what comes over it to a local service, and says what happens.

`app` builds it; the console and the API watch and are never on the road.
"""
