import os
import signal

import pytest

from pipeline.system import cli
from pipeline.system.errors import UserError


def fails(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(("returned", "status"), [(None, None), (0, 0), (3, 3)])
def test_exit_status_is_the_commands_own(returned: int | None, status: int | None) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.run(lambda: returned)
    assert exit_.value.code == status


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UserError("train.epochs: missing"), 1, "error: train.epochs: missing\n"),
        (
            OSError(28, "No space left on device", "model.keras"),
            1,
            "error: [Errno 28] No space left on device: 'model.keras'\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_users_mistake_is_one_line(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.run(lambda: fails(error))
    assert exit_.value.code == status
    assert capsys.readouterr().err == said


def test_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: fails(ZeroDivisionError()))


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_signal_waits_until_it_is_looked_for(
    number: signal.Signals, raised: type[BaseException]
) -> None:
    before = signal.getsignal(number)
    passed = []
    with pytest.raises(raised) as told, cli.signals_held():  # noqa: PT012
        os.kill(os.getpid(), number)
        passed.append("the signal")
        cli.check_signals()
        passed.append("the check")
    assert passed == ["the signal"]
    assert number == signal.SIGINT or told.value.args == (128 + number,)
    with pytest.raises(raised), cli.signals_held():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    cli.check_signals()  # it is over


def test_second_signal_does_not_wait() -> None:
    with pytest.raises(KeyboardInterrupt), cli.signals_held():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it waited")


def test_stage_refuses_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["stage", "train.epochs=3"])
    with pytest.raises(SystemExit) as exit_:
        cli.no_arguments("A stage.")
    assert exit_.value.code == 2
    assert "train.epochs=3" in capsys.readouterr().err


def test_stage_says_where_its_settings_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["stage", "--help"])
    with pytest.raises(SystemExit) as exit_:
        cli.no_arguments("A stage.")
    assert exit_.value.code == 0
    assert "params.yaml" in capsys.readouterr().out
