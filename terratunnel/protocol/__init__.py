"""The link protocol without I/O: bytes, numbers and `now` in; events and bytes out.

Used by `terratunnel.mux`. `docs/spec/protocol.md` is its contract. Nothing here waits, reads a clock or opens a socket.
"""
