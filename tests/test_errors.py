"""The two families of protocol errors keep apart whose fault it was."""

from terratunnel.errors import LocalProtocolError, ProtocolError, RemoteProtocolError, TerratunnelError


def test_every_error_is_a_terratunnel_error() -> None:
    assert issubclass(ProtocolError, TerratunnelError)


def test_our_fault_and_theirs_are_never_caught_together_by_accident() -> None:
    assert issubclass(LocalProtocolError, ProtocolError)
    assert issubclass(RemoteProtocolError, ProtocolError)
    assert not issubclass(LocalProtocolError, RemoteProtocolError)
    assert not issubclass(RemoteProtocolError, LocalProtocolError)
