"""The asyncio shell of `terratunnel.protocol`: links, and the connection that moves the messages of a multiplexer.

Used by `terratunnel.forwarding`, the server and the client. It knows streams and messages; HTTP is not its business.
"""
