"""The server: the public listener, the acceptor of links, the routes between them, and its own pages.

`app` builds it; `edge` is on the road of every request and knows neither accounts nor pages.
"""
