"""Cookies between a tunnel and the server's own pages, which are its siblings for a browser. Used by the edge.

Rule (security.md A1): ours never reach a tunnel, and a tunnel sets none that would come to us; all others pass as they
are.
"""

from typing import Final

# Every cookie of the server's own pages begins so, behind a `__Host-` where there is TLS.
OUR_COOKIES: Final = b"terratunnel_"
_HOST_PREFIX: Final = b"__Host-"
_COOKIE: Final = b"cookie"
_SET_COOKIE: Final = b"set-cookie"


def without_ours(items: list[bytes]) -> list[bytes]:
    """Take our cookies out of `[method, target, name, value, …]`; a field of which nothing is left goes too."""
    places = [place for place in range(2, len(items), 2) if OUR_COOKIES in items[place + 1]]
    for place in reversed(places):
        if items[place].lower() == _COOKIE:
            pairs = items[place + 1].split(b";")
            kept = [pair for pair in pairs if not _is_ours(pair)]
            if len(kept) == len(pairs):
                continue
            items = items[:place] + ([items[place], b";".join(kept).strip()] if kept else []) + items[place + 2 :]
    return items


def without_apex(items: list[bytes], apex: bytes) -> list[bytes]:
    """Take out of `[status, reason, name, value, …]` what would set a cookie for the server's own domain, `apex`."""
    places = [place for place in range(2, len(items), 2) if len(items[place]) == len(_SET_COOKIE)]
    for place in reversed(places):
        if items[place].lower() == _SET_COOKIE and _reaches(items[place + 1], apex):
            items = items[:place] + items[place + 2 :]
    return items


def _is_ours(pair: bytes) -> bool:
    name = pair.partition(b"=")[0].strip(b" \t").removeprefix(_HOST_PREFIX)
    return name.startswith(OUR_COOKIES)


def _reaches(set_cookie: bytes, apex: bytes) -> bool:
    """Whether a browser would send this cookie to the apex: by any of its Domains, whichever it takes."""
    for attribute in set_cookie.split(b";")[1:]:
        key, _, value = attribute.partition(b"=")
        if key.strip(b" \t").lower() == b"domain":
            domain = value.strip(b" \t").lower().strip(b".")
            # Browsers read wide letters, soft hyphens and other dots as ASCII (UTS 46), so such a domain may be any.
            if not domain.isascii():
                return True
            if domain and (apex == domain or apex.endswith(b"." + domain)):
                return True
    return False
