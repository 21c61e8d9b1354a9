"""Whose fault an error is. Used by every layer; the protocol packages derive their own from these.
Rule: `Local` is a bug in our code, `Remote` is a peer that broke the rules."""


class TerratunnelError(Exception):
    """Base of every error this project raises on purpose."""


class ProtocolError(TerratunnelError):
    """A rule of a wire protocol was broken; the subclass says by whom."""


class LocalProtocolError(ProtocolError):
    """Our own code asked for something the protocol does not allow: a bug here."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something the protocol does not allow: close and say why."""
