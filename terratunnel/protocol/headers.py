"""Blocks: lists of byte strings as HEADERS and END carry them. Used by the multiplexer.

Layout (spec §3): count, all lengths, then the strings joined; one struct call and one join each way. What the strings
mean is not checked here.
"""

from struct import Struct, error
from typing import Final

from terratunnel.errors import LocalProtocolError
from terratunnel.protocol.errors import GoAwayCode, LinkError

MAX_ITEM_BYTES: Final = 65_535
_STRUCTS: Final[dict[int, Struct]] = {}


def _lengths(count: int) -> Struct:
    """Return the struct for `count` lengths; kept, as the same few counts come again and again."""
    found = _STRUCTS.get(count)
    if found is None:
        found = _STRUCTS[count] = Struct(f">{count + 1}H")
    return found


def encode_block(items: list[bytes]) -> bytes:
    """Return the block for `items`; raises LocalProtocolError for an item or a list that cannot be written."""
    count = len(items)
    try:
        head = _lengths(count).pack(count, *map(len, items))
    except error as exc:
        raise LocalProtocolError("a block holds at most 65,535 strings of at most 65,535 bytes") from exc
    return head + b"".join(items)


def decode_block(block: bytes, max_bytes: int, max_items: int) -> list[bytes]:
    """Return the strings of a block; raises LinkError when it is malformed or over a budget."""
    size = len(block)
    if size == 0:
        return []
    if size > max_bytes:
        raise LinkError(GoAwayCode.BUDGET_EXCEEDED, f"block size: {size} bytes where {max_bytes} are allowed")
    count = (block[0] << 8 | block[1]) if size >= 2 else 0
    if count > max_items:
        raise LinkError(GoAwayCode.BUDGET_EXCEEDED, f"block items: {count} where {max_items} are allowed")
    start = 2 + 2 * count
    if size < start:
        raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a block is shorter than its own table of lengths")
    lengths = _lengths(count).unpack_from(block)
    items: list[bytes] = []
    for index in range(1, count + 1):
        end = start + int(lengths[index])
        items.append(block[start:end])
        start = end
    if start != size:
        raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a block is not as long as its strings")
    return items
