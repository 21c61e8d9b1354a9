"""The pages that people see, one router for each part of them. Used by `app`.

Rule: a page works without scripts; a script only adds copy buttons and numbers that move.
"""
