import io

import pytest

from pipeline.system.colour import RED, paint


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_a_terminal_has_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert paint("error:", RED, Terminal()) == "\x1b[31merror:\x1b[0m"
    assert paint("error:", RED, io.StringIO()) == "error:"
    monkeypatch.setenv("TERM", "dumb")
    assert paint("error:", RED, Terminal()) == "error:"


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("error:", RED, Terminal()) == "error:"
    monkeypatch.setenv("NO_COLOR", "")  # an empty value does not count
    assert paint("error:", RED, Terminal()) != "error:"
