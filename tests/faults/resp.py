"""Where a message of the Redis protocol (RESP2) ends, which is all that a proxy in between must know."""

from __future__ import annotations


def message_end(buffer: bytes | bytearray, start: int = 0) -> int | None:
    """The index after the first whole message at ``start``; None when it is not all there yet."""
    line_end = buffer.find(b"\r\n", start)
    if line_end < 0:
        return None
    kind, after = buffer[start : start + 1], line_end + 2
    match bytes(kind):
        case b"+" | b"-" | b":":
            return after
        case b"$":
            length = int(buffer[start + 1 : line_end])
            end = after if length < 0 else after + length + 2
            return end if end <= len(buffer) else None
        case b"*":
            for _ in range(max(int(buffer[start + 1 : line_end]), 0)):
                inner = message_end(buffer, after)
                if inner is None:
                    return None
                after = inner
            return after
    raise ValueError(f"not RESP2: {bytes(buffer[start : start + 20])!r}")


def words_of(request: bytes, most: int = 3) -> list[str]:
    """The first words of a request, for messages: ``['EVALSHA', '3f2…']``."""
    words: list[str] = []
    at = request.find(b"\r\n") + 2
    while at < len(request) and len(words) < most:
        line_end = request.find(b"\r\n", at)
        length = int(request[at + 1 : line_end])
        words.append(request[line_end + 2 : line_end + 2 + min(length, 40)].decode("latin-1"))
        at = line_end + 2 + length + 2
    return words
