"""Field lines: read, checked and given a kind. Used by sections, trailers and the checks on what a link brought.
Rule: a name is a token, a value holds no control character; well-known lines are remembered, secrets never are."""

from typing import Final, TypeAlias

from terratunnel.http1.errors import BadMessage, bad_request
from terratunnel.http1.hosts import is_authority

Fields: TypeAlias = list[tuple[bytes, bytes]]

CRLF: Final = b"\r\n"

# What a field means to us, as bits: a set of kinds is one int, and ORDINARY is false.
ORDINARY: Final = 0
HOST: Final = 1
CONTENT_LENGTH: Final = 2
TRANSFER_ENCODING: Final = 4
CONNECTION: Final = 8
UPGRADE: Final = 16
EXPECT: Final = 32
KEEP_ALIVE: Final = 64
HOP_BY_HOP: Final = 128
X_FORWARDED_FOR: Final = 256
X_FORWARDED_HOST: Final = 512
X_FORWARDED_PROTO: Final = 1024
FORWARDED: Final = 2048
X_REQUEST_ID: Final = 4096

HOP_KINDS: Final = TRANSFER_ENCODING | CONNECTION | KEEP_ALIVE | HOP_BY_HOP
FRAMING: Final = HOST | CONTENT_LENGTH | UPGRADE | HOP_KINDS  # what may not be believed of a stranger's list
_UNKNOWN: Final = 8192  # a name not seen yet: it must be checked before it has a kind

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

    __slots__ = ("kind", "number", "pair", "tokens", "value")

    def __init__(self, name: bytes, value: bytes, kind: int) -> None:
        self.pair: tuple[bytes, ...] = (name, value)
        self.value: bytes = value
        self.kind: int = kind
        self.number: int = 0
        self.tokens: tuple[bytes, ...] = ()
        if kind:
            self._read_value(value, kind)

    def _read_value(self, value: bytes, kind: int) -> None:
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


class FieldBlock:
    """The lines of one head: `items` is all of them as `[name, value, …]`; the special ones and their places beside."""

    __slots__ = ("items", "places", "special")

    def __init__(self) -> None:
        self.items: list[bytes] = []
        self.special: list[FieldLine] = []
        self.places: list[int] = []


_remembered: Final[dict[bytes, FieldLine]] = {}
_names: Final[dict[bytes, int]] = {}
_harmless_names: Final[set[bytes]] = set()  # those of _names that are of no FRAMING kind


def read_block(raw: bytes, max_fields: int) -> FieldBlock:
    """Every line of a block of fields (no final CRLF). Raises BadMessage: 431 for too many, else 400."""
    block = FieldBlock()
    if not raw:
        return block
    raw_lines = raw.split(CRLF)
    if len(raw_lines) > max_fields:
        raise BadMessage(431, f"The message has more than {max_fields} fields.")
    remembered = _remembered
    items = block.items
    for raw_line in raw_lines:
        line = remembered.get(raw_line)
        if line is None:
            line = _learn_line(raw_line)
        if line.kind:
            block.special.append(line)
            block.places.append(len(items))
        items += line.pair
    return block


def split_line(raw: bytes) -> tuple[bytes, bytes, int]:
    """Name, value and kind, all checked."""
    name, colon, rest = raw.partition(b":")
    kind = _names.get(name, _UNKNOWN)
    if kind == _UNKNOWN or not colon:
        kind = _learn_name(name, colon)
    value = rest.strip(_BLANKS)
    if len(value.translate(None, CONTROLS)) != len(value):
        raise bad_request("A field value holds a control character.")
    return name, value, kind


def framing_places(items: list[bytes], start: int) -> list[int]:
    """Where in `[…, name, value, …]` from `start` on fields of a FRAMING kind are. Raises BadMessage for a bad name."""
    harmless = _harmless_names
    places = [place for place in range(start, len(items), 2) if items[place] not in harmless]
    return [place for place in places if kind_of(items[place]) & FRAMING]


def kind_of(name: bytes) -> int:
    """The kind of a field name; raises BadMessage when it is no token."""
    kind = _names.get(name, _UNKNOWN)
    return kind if kind != _UNKNOWN else _learn_name(name, b":")


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
    name, value, kind = split_line(raw)
    line = FieldLine(name, value, kind)
    if len(raw) <= _MAX_LINE and name.lower() in _MEMORABLE_NAMES:
        if len(_remembered) >= _MAX_REMEMBERED:
            _remembered.clear()
        _remembered[raw] = line
    return line


def _learn_name(name: bytes, colon: bytes) -> int:
    if not colon:
        raise bad_request("A field line has no colon.")
    if not is_token(name):
        raise bad_request(_why_no_token(name))
    kind = _KINDS.get(name.lower(), ORDINARY)
    if len(name) <= _MAX_LINE:
        if len(_names) >= _MAX_REMEMBERED:
            _names.clear()
            _harmless_names.clear()
        _names[name] = kind
        if not kind & FRAMING:
            _harmless_names.add(name)
    return kind


def _why_no_token(name: bytes) -> str:
    if not name:
        return "A field has no name."
    if name[:1] in (b" ", b"\t"):
        return "A field line is folded; that has been obsolete since RFC 7230."
    if name[-1:] in (b" ", b"\t"):
        return "White space stands between a field name and its colon."
    return "A field name holds a character that no token may hold."
