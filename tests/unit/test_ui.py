"""What the command prints and refuses; the page itself is tested in tests/system/tracking."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import ui
from pipeline.system.errors import UserError
from tests.helpers import server
from tests.helpers.commands import assert_help, run_command


@pytest.mark.slow
def test_help_says_the_port(tmp_path: Path) -> None:
    assert_help("ui", tmp_path, "--port")


@pytest.mark.slow
def test_taken_port_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("{}\n")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        result = run_command("ui", tmp_path, "--port", port)
    assert (result.returncode, result.stdout) == (1, "")
    error = result.stderr.splitlines()[-1]
    assert error.startswith(f"error: cannot listen on 127.0.0.1:{port}: Address already in use")


@pytest.mark.slow
def test_server_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui, "_SECONDS", 1)
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        subprocess.Popen(command) as process,
    ):
        try:
            with pytest.raises(UserError, match="does not answer after 1 s"):
                ui._wait(process, f"http://127.0.0.1:{silent.getsockname()[1]}/health")
        finally:
            process.kill()


@pytest.mark.slow
def test_password_of_a_server_is_not_printed(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "params.yaml").write_text("{}\n")
    monkeypatch.chdir(repository)
    port = server.free_port()
    with server.mlflow(repository / "store", port):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://anna:secret@127.0.0.1:{port}")
        monkeypatch.setattr(sys, "argv", ["ui"])
        assert ui.main() == 0
    printed = "".join(capsys.readouterr())
    assert f"the runs are at http://***@127.0.0.1:{port}/#/experiments/" in printed
    assert "secret" not in printed
