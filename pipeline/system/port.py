"""Check that a server can listen, before its libraries are imported."""

import errno
import socket

from pipeline.system.errors import UserError, one_line

_PORTS = 65535


def check_port(host: str, port: int) -> None:
    """Check that a program can listen on a port of this machine.

    Args:
        host: a name or an address, of IPv4 or IPv6; "" for all addresses of the machine.
        port: 0 to 65535; 0 lets the system choose.

    Raises:
        UserError: when it cannot. Another port is advised only where that helps.
    """
    if not 0 <= port <= _PORTS:
        raise UserError(f"a port is a number from 0 to {_PORTS}, not {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        advice = ""
        if getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES):
            # Only root may listen below 1024.
            other = max(port + 1, 1024) if port < _PORTS else port - 1
            advice = f"; name another port: --port {other}, or PORT={other} for make"
        raise UserError(f"cannot listen on {authority(host, port)}: {reason}{advice}") from None


def authority(host: str, port: int) -> str:
    """A host and a port as an address has them: `127.0.0.1:8000`, `[::1]:8000`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
