"""Make the virtual environment from the locked requirements; `make` runs it when that is missing.

Nothing is installed yet, so it needs only the standard library, and runs alone: `python -I`. One
process at a time makes an environment. Children inherit the lock, so that after a `kill -9` the
next one waits until the pip that was left has ended.
"""

import argparse
import fcntl
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

# Also for a bare `mlflow ui`: MLflow reads its telemetry switch only from the environment.
_NO_TELEMETRY = 'import os; os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")\n'


def set_up(folder: Path, lock: Path) -> None:
    """Make an environment, unless another process has just made it.

    Args:
        folder: of the environment, which is made again from nothing.
        lock: the requirements, with the hash of each file.

    Raises:
        subprocess.CalledProcessError: when a step fails.
    """
    ready = folder / f".{lock.name}.ready"
    with Path(f"{folder}.lock").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process makes {folder}: waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        if ready.exists() and ready.stat().st_mtime > lock.stat().st_mtime:
            return
        _make(folder, lock)
        ready.touch()


def _make(folder: Path, lock: Path) -> None:
    """Install the requirements in a new environment, and compile them, since imports are heavy."""
    python = folder / "bin" / "python"
    _run(sys.executable, "-m", "venv", "--clear", folder)
    # Without compiling, because pip compiles one file at a time.
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")
    _run(*pip, "--no-deps", "--require-hashes", "--requirement", lock)
    site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder)}))
    # Without the tests of packages: a fifth of all code, some of it for other Python versions.
    compiled = (python, "-m", "compileall", "-q", "-j", "0", "-x", "/tests/", site)
    subprocess.run(compiled, close_fds=False, stdout=subprocess.DEVNULL, check=False)
    (site / "mnist_pipeline.pth").write_text(_NO_TELEMETRY)
    _run(python, "-m", "pipeline.plots_page")  # for `dvc plots` without internet


def _run(*command: str | Path) -> None:
    """Run a command that keeps the lock for as long as it runs."""
    subprocess.run(list(map(str, command)), close_fds=False, check=True)


def main() -> None:
    """Make the environment; end with the status of the step that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="such as .venv")
    parser.add_argument("lock", type=Path, metavar="LOCK", help="such as requirements.txt")
    arguments = parser.parse_args()
    try:
        set_up(arguments.folder, arguments.lock)
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {arguments.folder} is not complete: {error}")


if __name__ == "__main__":
    main()
