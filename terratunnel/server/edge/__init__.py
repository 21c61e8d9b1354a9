"""The edge: the public listener and everything a visitor's bytes meet before the link and after it.

On the road of every request. It knows routes and links; accounts, pages and databases are not its business.
"""
