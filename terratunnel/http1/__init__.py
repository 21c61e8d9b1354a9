"""HTTP/1.1 meaning without I/O, for both ends of a tunnel: read a message, decide what is forwarded, write it afresh.
Used by the edge and the forwarder. Rule: bytes in, events and bytes out; one strict reading, nothing is guessed."""
