"""Field lines: read, checked and given a kind. Used by sections, trailers and the checks on what a link brought.
Rule: a name is a token, a value holds no control character; well-known lines are remembered, secrets never are."""

from typing import Final, TypeAlias

from terratunnel.http1.errors import BadMessage, bad_request
from terratunnel.http1.hosts import is_authority

Fields: TypeAlias = list[tuple[bytes, bytes]]

CRLF: Final = b"\r\n"

# What a field means to us. ORDINARY must be 0: the common path asks only "is it special?".
ORDINARY: Final = 0
HOST: Final = 1
CONTENT_LENGTH: Final = 2
TRANSFER_ENCODING: Final = 3
CONNECTION: Final = 4
UPGRADE: Final = 5
EXPECT: Final = 6
KEEP_ALIVE: Final = 7
HOP_BY_HOP: Final = 8
X_FORWARDED_FOR: Final = 9
X_FORWARDED_HOST: Final = 10
X_FORWARDED_PROTO: Final = 11
FORWARDED: Final = 12
X_REQUEST_ID: Final = 13

KIND_MASK: Final = 31
_MEMORABLE: Final = 32  # beside the kind in the table of names: a line with this name may be remembered

_KINDS: Final[dict[bytes, int]] = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    # RFC 9110 §7.6.1: these describe one hop even when Connection does not name them.
    b"keep-alive": KEEP_ALIVE,
    b"proxy-connection": HOP_BY_HOP,
    b"te": HOP_BY_HOP,
    b"x-forwarded-for": X_FORWARDED_FOR,
    b"x-forwarded-host": X_FORWARDED_HOST,
    b"x-forwarded-proto": X_FORWARDED_PROTO,
    b"forwarded": FORWARDED,
    b"x-request-id": X_REQUEST_ID,
}

# Names whose lines repeat from message to message and hold no secret.
_MEMORABLE_NAMES: Final = frozenset(
    b"accept accept-charset accept-encoding accept-language accept-ranges access-control-allow-credentials "
    b"access-control-allow-headers access-control-allow-methods access-control-allow-origin "
    b"access-control-request-headers access-control-request-method age alt-svc cache-control connection "
    b"content-encoding content-language content-length content-type date dnt expect host keep-alive origin pragma "
    b"priority proxy-connection referrer-policy save-data sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform "
    b"sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user sec-gpc sec-websocket-extensions "
    b"sec-websocket-protocol sec-websocket-version server strict-transport-security te transfer-encoding upgrade "
    b"upgrade-insecure-requests user-agent vary x-content-type-options x-forwarded-proto x-frame-options "
    b"x-powered-by x-requested-with x-xss-protection".split()
)

TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CONTROLS: Final = bytes(n for n in range(32) if n != 9) + b"\x7f"  # RFC 9110 §5.5: HTAB alone may stand in a value
_BLANKS: Final = b" \t"

_MAX_REMEMBERED: Final = 1024  # lines and names each: well under 1 MiB when every entry is as long as it may be
_MAX_LINE: Final = 256  # longer lines are seldom repeated
_MAX_LENGTH_DIGITS: Final = 18  # below 2**63, so that no peer in any language overflows on it


class FieldLine:
    """One checked line, never changed once read. `number` and `tokens` hold what the value says, by kind:
    Content-Length (-1: malformed), Keep-Alive timeout (-1: none), Host and Transfer-Encoding (-1: not acceptable)."""

    __slots__ = ("kind", "name", "number", "tokens", "value")

    def __init__(self, name: bytes, value: bytes, kind: int) -> None:
        self.name: bytes = name
        self.value: bytes = value
        self.kind: int = kind
        self.number: int = 0
        self.tokens: tuple[bytes, ...] = ()
        if kind == CONTENT_LENGTH:
            self.number = length_of(value)
        elif kind == HOST:
            self.number = 0 if is_authority(value) else -1
        elif kind == TRANSFER_ENCODING:
            self.number = 0 if value.lower() == b"chunked" else -1
        elif kind == KEEP_ALIVE:
            self.number = _timeout_of(value)
        elif kind in (CONNECTION, UPGRADE, EXPECT):
            self.tokens = tuple(tokens(value))


_remembered: Final[dict[bytes, FieldLine]] = {}
_names: Final[dict[bytes, int]] = {}


def read_lines(block: bytes, max_fields: int) -> list[FieldLine]:
    """Every line of a block of fields (no final CRLF). Raises BadMessage: 431 for too many, else 400."""
    raw_lines = block.split(CRLF)
    if len(raw_lines) > max_fields:
        raise BadMessage(431, f"The message has more than {max_fields} fields.")
    remembered = _remembered
    return [remembered.get(raw) or _learn_line(raw) for raw in raw_lines]


def split_line(raw: bytes) -> tuple[bytes, bytes, int]:
    """Name, value and the entry of the name's table, all checked."""
    name, colon, rest = raw.partition(b":")
    entry = _names.get(name, -1)
    if entry < 0 or not colon:
        entry = _learn_name(name, colon)
    value = rest.strip(_BLANKS)
    if len(value.translate(None, CONTROLS)) != len(value):
        raise bad_request("A field value holds a control character.")
    return name, value, entry


def kind_of(name: bytes) -> int:
    """The kind of a field name; raises BadMessage when it is no token."""
    entry = _names.get(name, -1)
    if entry < 0:
        entry = _learn_name(name, b":")
    return entry & KIND_MASK


def first(fields: Fields, lowername: bytes) -> bytes | None:
    for name, value in fields:
        if name.lower() == lowername:
            return value
    return None


def every(fields: Fields, lowername: bytes) -> list[bytes]:
    return [value for name, value in fields if name.lower() == lowername]


def tokens(value: bytes) -> list[bytes]:
    """The elements of a comma list, lower-cased; empty ones are skipped (RFC 9110 §5.6.1)."""
    elements = [element.strip(_BLANKS) for element in value.lower().split(b",")]
    return [element for element in elements if element]


def is_token(value: bytes) -> bool:
    return value != b"" and not value.translate(None, TOKEN)


def length_of(value: bytes) -> int:
    """The number a Content-Length says: digits and nothing else, or -1."""
    return int(value) if len(value) <= _MAX_LENGTH_DIGITS and value.isdigit() else -1


def _timeout_of(value: bytes) -> int:
    for element in tokens(value):
        key, _, number = element.partition(b"=")
        if key.strip(_BLANKS) == b"timeout":
            return length_of(number.strip(_BLANKS))
    return -1


def _learn_line(raw: bytes) -> FieldLine:
    name, value, entry = split_line(raw)
    line = FieldLine(name, value, entry & KIND_MASK)
    if entry & _MEMORABLE and len(raw) <= _MAX_LINE:
        if len(_remembered) >= _MAX_REMEMBERED:
            _remembered.clear()
        _remembered[raw] = line
    return line


def _learn_name(name: bytes, colon: bytes) -> int:
    if not colon:
        raise bad_request("A field line has no colon.")
    if not is_token(name):
        raise bad_request(_why_no_token(name))
    lower = name.lower()
    entry = _KINDS.get(lower, ORDINARY)
    if lower in _MEMORABLE_NAMES:
        entry |= _MEMORABLE
    if len(name) <= _MAX_LINE:
        if len(_names) >= _MAX_REMEMBERED:
            _names.clear()
        _names[name] = entry
    return entry


def _why_no_token(name: bytes) -> str:
    if not name:
        return "A field has no name."
    if name[:1] in (b" ", b"\t"):
        return "A field line is folded; that has been obsolete since RFC 7230."
    if name[-1:] in (b" ", b"\t"):
        return "White space stands between a field name and its colon."
    return "A field name holds a character that no token may hold."
