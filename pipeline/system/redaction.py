"""Remove passwords from the addresses in a text before it is shown or kept."""

import re

_HIDDEN = "***"
# `user:password@` after the scheme. It ends at the last @ before the path, since a password may
# have one.
_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#]*@")
# The values of a query, such as `?token=...` or a signature.
_QUERY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s?#]*\?)([^\s#'\"]+)")
_VALUE = re.compile(r"=[^&;]+")


def redact(text: str) -> str:
    """A text in which addresses have no user, no password, and no values in their query."""
    text = _USER.sub(rf"\1{_HIDDEN}@", text)
    return _QUERY.sub(lambda match: match[1] + _VALUE.sub(f"={_HIDDEN}", match[2]), text)
