"""A certificate authority of the tests' own and a certificate for `localhost` and 127.0.0.1. Used by tests of TLS.

Made once with openssl, valid from 2020 to 2120; the authority's key was thrown away. They protect nothing.
"""

import ssl
import tempfile
from pathlib import Path

AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBgjCCASigAwIBAgIUAfNGBy11zEoXcdks6zAB6AHuhF4wCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTVGVycmF0dW5uZWwgdGVzdCBDQTAgFw0yMDAxMDEwMDAwMDBa
GA8yMTIwMDEwMTAwMDAwMFowHjEcMBoGA1UEAwwTVGVycmF0dW5uZWwgdGVzdCBD
QTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNIaNay+h0Q71dwFtqblb4hzB8UO
VnjgvFhSS19onXPsk0nYgwu7/JABLcMfButlz9sl3vOB1yuaP3hk8XaH/o6jQjBA
MB0GA1UdDgQWBBTx6211lmygwqz/s+HPmLoc+ifKKTAPBgNVHRMBAf8EBTADAQH/
MA4GA1UdDwEB/wQEAwIBBjAKBggqhkjOPQQDAgNIADBFAiACdGfugrhHWDUH+ER2
/OMStaMqUNPUvWEQkQQdNpKvmQIhALyu7g5v7bTSaSTRjpwVr45bFu6eSNUzejMI
iqL5E3Gg
-----END CERTIFICATE-----
"""
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIByjCCAW+gAwIBAgIUAhYt36Pe/fmmRtEg1EXIOwVYdScwCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTVGVycmF0dW5uZWwgdGVzdCBDQTAgFw0yMDAxMDEwMDAwMDBa
GA8yMTIwMDEwMTAwMDAwMFowFDESMBAGA1UEAwwJbG9jYWxob3N0MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAElTuKNZ56YSgReoUuQX7Sc6j09i6xABtnd7hUrRZU
XUKbPt6Xn9ZYbWaKcYXKsvSj4Cr1mBTYGhl2d7E8vOLm16OBkjCBjzAaBgNVHREE
EzARgglsb2NhbGhvc3SHBH8AAAEwDAYDVR0TAQH/BAIwADAdBgNVHQ4EFgQUtuJZ
umLoDcynDeNdy1g/4aPFiowwHwYDVR0jBBgwFoAU8ettdZZsoMKs/7Phz5i6HPon
yikwEwYDVR0lBAwwCgYIKwYBBQUHAwEwDgYDVR0PAQH/BAQDAgeAMAoGCCqGSM49
BAMCA0kAMEYCIQCmK5lFJVhy4O4k6U0VVWDgNQnUehTD6hIPCw2IpVPDxQIhAKnB
NTeR4GioV7xY+T7Z6MsflJf+MAjAc7jfXVwD5Hfy
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg7c/GKmNjH0YI2E1b
SnvVG+xusNCxHFsLlVnoDJsRFU+hRANCAASVO4o1nnphKBF6hS5BftJzqPT2LrEA
G2d3uFStFlRdQps+3pef1lhtZopxhcqy9KPgKvWYFNgaGXZ3sTy84ubX
-----END PRIVATE KEY-----
"""


def server_context() -> ssl.SSLContext:
    """What a server on localhost shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder, "localhost.pem")
        pem.write_text(CERTIFICATE + KEY)
        context.load_cert_chain(pem)
    return context


def client_context() -> ssl.SSLContext:
    """What a client trusts who knows the authority."""
    return ssl.create_default_context(cadata=AUTHORITY)
