import pytest

from pipeline.system.errors import UserError, one_line
from pipeline.system.redaction import redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://me:planted@host/a", "http://***@host/a"),
        ("https://planted@host:80/a", "https://***@host:80/a"),
        ("postgresql+psycopg://me:pl@nted@host/db", "postgresql+psycopg://***@host/db"),
        ("https://host/a?token=planted&x=planted#b", "https://host/a?token=***&x=***#b"),
        ("http://a:planted@h and 'ftp://b:planted@h/x'.", "http://***@h and 'ftp://***@h/x'."),
        ("(sqlite:////a/b@c.db)", "(sqlite:////a/b@c.db)"),
        ("https://host/~me/a@b.png", "https://host/~me/a@b.png"),
        ("models:/reader@champion", "models:/reader@champion"),
        ("me@example.org asks: what?", "me@example.org asks: what?"),
    ],
)
def test_addresses_lose_passwords_and_nothing_else(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert "planted" not in str(UserError(text))
    assert "planted" not in one_line(ValueError(text))
