import os
import signal
import subprocess
import sys

import pytest

from pipeline.config.paths import REPOSITORY
from pipeline.system import cli
from pipeline.system.errors import UserError


def fail(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(("returned", "status"), [(None, None), (0, 0), (3, 3)])
def test_exit_status_is_the_commands_own(returned: int | None, status: int | None) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.run(lambda: returned)
    assert exit_.value.code == status


@pytest.mark.parametrize(
    ("error", "status", "message"),
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
def test_error_of_the_user_is_one_line(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.run(lambda: fail(error))
    assert exit_.value.code == status
    assert capsys.readouterr().err == message


def test_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: fail(ZeroDivisionError()))


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_signal_is_held_until_it_is_checked(
    number: signal.Signals, raised: type[BaseException]
) -> None:
    before = signal.getsignal(number)
    passed = []
    with pytest.raises(raised) as error, cli.signals_held():  # noqa: PT012
        os.kill(os.getpid(), number)
        passed.append("the signal")
        cli.check_signals()
        passed.append("the check")
    assert passed == ["the signal"]
    assert number == signal.SIGINT or error.value.args == (128 + number,)
    with pytest.raises(raised), cli.signals_held():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    cli.check_signals()  # no signal is held any more


def test_second_signal_is_not_held() -> None:
    with pytest.raises(KeyboardInterrupt), cli.signals_held():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second signal was held")


def test_stage_refuses_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["stage", "--force"])
    with pytest.raises(SystemExit) as exit_:
        cli.no_arguments("A stage.")
    assert exit_.value.code == 2
    assert "unrecognized arguments: --force" in capsys.readouterr().err


def test_stage_says_where_a_setting_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["stage", "model=mlp", "train.epochs=3"])
    message = r"^model=mlp train\.epochs=3: .*`python -m pipeline.compose model=mlp train\.epochs=3"
    with pytest.raises(UserError, match=message):
        cli.no_arguments("A stage.")


def test_stage_says_where_its_settings_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["stage", "--help"])
    with pytest.raises(SystemExit) as exit_:
        cli.no_arguments("A stage.")
    assert exit_.value.code == 0
    assert "params.yaml" in capsys.readouterr().out


def test_character_that_the_locale_cannot_print_is_escaped() -> None:
    code = "from pipeline.system import cli; cli.run(lambda: print('28×28'))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "28\\xd728\n"
