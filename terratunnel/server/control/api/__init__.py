"""The JSON API, one router for each part of it. Used by `app`. Rule: routes are thin; rules live in accounts."""
