"""Run DVC, and check the files that it reads before it fails on them with a traceback."""

import re
import subprocess
import sys
from pathlib import Path

import yaml
from dvc.config import Config, ConfigError

from pipeline.system.errors import UserError, one_line

LOCK = Path("dvc.lock")
_CONFIGS = (Path(".dvc/config"), Path(".dvc/config.local"))


def run_dvc(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run DVC; its exit status, and what it printed."""
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def failure(failed: subprocess.CompletedProcess[str]) -> str:
    """Why DVC failed, in one line. It prints a traceback if it cannot read its configuration."""
    errors = re.findall(r"^ERROR: (.*)", failed.stderr, flags=re.M)
    lines = failed.stderr.split("\n")
    last = [line for line in lines if re.match(r"\S", line)][-1:]
    return one_line((errors or last or ["it printed nothing"])[0])


def read_config() -> str:
    """The text of DVC's configuration files in this folder.

    Raises:
        UserError: when one cannot be read. DVC itself would print a traceback.
    """
    texts = [_read(path) or "" for path in _CONFIGS]
    for path in filter(Path.exists, _CONFIGS):
        try:
            Config.load_file(path)
        except ConfigError as error:
            raise _unreadable(path, one_line(error).removeprefix("config file error: ")) from None
    return "".join(texts)


def read_lock() -> str | None:
    """The text of dvc.lock in this folder, complete or not; None if there is no such file.

    Raises:
        UserError: when it cannot be read at all. Bytes that are no text are replaced.
    """
    return _read(LOCK, errors="replace")


def is_complete(text: str) -> bool:
    """Whether the text of a dvc.lock is complete: each stage has a command, each file a digest."""
    try:
        for stage in yaml.safe_load(text)["stages"].values():
            files = [*stage.get("deps", []), *stage.get("outs", [])]
            if "cmd" not in stage or not all(file["path"] and file["md5"] for file in files):
                return False
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False
    return True


def cache_folder() -> Path:
    """The folder of DVC's cache: the file with the MD5 `abcd...` is `ab/cd...` in it.

    Raises:
        UserError: when DVC fails.
    """
    result = run_dvc("cache", "dir")
    if result.returncode:
        raise UserError(f"`dvc cache dir` failed: {failure(result)}")
    return Path(result.stdout.strip()) / "files" / "md5"


def _read(path: Path, errors: str = "strict") -> str | None:
    try:
        return path.read_text("utf-8", errors)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}; run `chmod u+rw {path}`"
        ) from None
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from None
    except ValueError:
        raise _unreadable(path, "it is not text") from None


def _unreadable(path: Path, problem: str) -> UserError:
    if path.is_dir():
        mend = f"remove this folder, then run `git restore {path}`"
    elif path.name.endswith(".local"):  # git does not have it
        mend = "mend or remove it"
    else:
        mend = f"`git restore {path}` restores the one of the last commit"
    return UserError(f"{path} cannot be read: {problem}; {mend}")
