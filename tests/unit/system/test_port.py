import socket

import pytest

from pipeline.system.errors import UserError
from pipeline.system.port import authority, check_port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", ""])
def test_taken_port_is_refused_with_another_one(host: str) -> None:
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    with socket.create_server(("::1" if host == "::1" else "127.0.0.1", 0), family=family) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"{port}: Address already in use; .*--port {port + 1}"):
            check_port(host, port)
    check_port(host, port)


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("no-such-host.invalid", 8000, "no-such-host.invalid:8000: Name or service not known"),
        ("8.8.8.8", 8000, "8.8.8.8:8000: Cannot assign requested address"),
        ("x" * 300, 8000, "label too long"),
        ("127.0.0.1", 65536, "a port is a number from 0 to 65535, not 65536"),
        ("127.0.0.1", -1, "a port is a number from 0 to 65535, not -1"),
    ],
)
def test_for_a_wrong_host_no_other_port_is_advised(host: str, port: int, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as refusal:
        check_port(host, port)
    assert "--port" not in str(refusal.value)


def test_address_of_version_6_has_brackets() -> None:
    assert authority("::1", 80) == "[::1]:80"
    assert authority("localhost", 80) == "localhost:80"
