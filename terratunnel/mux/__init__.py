"""The asyncio shell of `terratunnel.protocol`: links, and the connection that owns a multiplexer and moves its messages.

Used by `terratunnel.forwarding`, the server and the client. It knows streams and messages; HTTP is not its business.
"""
