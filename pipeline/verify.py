"""Run the stages again in a clean folder, and compare every file with dvc.lock."""

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.composition import compose
from pipeline.config.paths import COMPOSED, REPOSITORY
from pipeline.config.stages import stage_names
from pipeline.reproduction.stages import run_stages, stage_commands
from pipeline.system import cli
from pipeline.system.dvc import (
    LOCK,
    cache_folder,
    failure,
    is_complete,
    read_config,
    read_lock,
    run_dvc,
)
from pipeline.system.errors import UserError
from pipeline.system.files import TEMPORARY, md5


def differing(lock: dict[str, Any], made: Path, cache: Path) -> tuple[list[str], list[str]]:
    """Compare the files that the stages wrote with dvc.lock.

    Args:
        lock: the content of dvc.lock.
        made: the folder in which the stages ran.
        cache: the folder of DVC's cache, which holds a list of files for each tracked folder.

    Returns:
        The names of the equal files, and those of the different ones. A folder whose list of files
        is not in the cache is compared as one file.
    """
    same: list[str] = []
    other: list[str] = []
    for stage in stage_names():
        for out in lock["stages"][stage]["outs"]:
            path, digest = out["path"], out["md5"]
            file = made / path
            expected, actual = {path: digest}, {path: md5(file) if file.is_file() else ""}
            if digest.endswith(".dir"):
                listed = cache / digest[:2] / digest[2:]
                actual = {f"{path}/{k}": v for k, v in _files(made / path).items()}
                if listed.is_file():
                    entries = json.loads(listed.read_text())
                    expected = {f"{path}/{e['relpath']}": e["md5"] for e in entries}
                else:
                    actual = {path: _md5_of_folder(made / path)}
            for name in sorted({*expected, *actual}):
                (same if expected.get(name) == actual.get(name) else other).append(name)
    return same, other


def _files(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): md5(path) for path in paths}


def _md5_of_folder(folder: Path) -> str:
    """The digest that DVC gives to a folder: the MD5 of the JSON list of its files."""
    files = sorted(_files(folder).items())
    entries = [{"md5": digest, "relpath": name} for name, digest in files]
    content = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"


def _check_inputs() -> None:
    """Raise UserError when code or settings have changed since dvc.lock was written."""
    result = run_dvc("status", "--json")
    try:
        changes = json.loads(result.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise UserError(f"`dvc status` failed: {failure(result)}") from None
    edited = {
        name
        for entries in changes.values()
        for entry in entries
        if isinstance(entry, dict)
        for name, state in entry.get("changed deps", {}).items()
        if not name.startswith(("data/", "models/", COMPOSED))
    }
    if edited:
        raise UserError(
            f"changed since dvc.lock was written: {', '.join(sorted(edited))}; "
            "run `dvc repro` first"
        )


def _read_lock() -> dict[str, Any]:
    """The content of dvc.lock, which has all stages."""
    text = read_lock()
    if text is None:
        raise UserError(f"there is no {LOCK}: run `dvc repro` first")
    if not is_complete(text):
        raise UserError(f"{LOCK} is damaged: `make repro` restores it")
    lock: dict[str, Any] = yaml.safe_load(text)
    recorded = lock["stages"]
    if missing := [name for name in stage_names() if not recorded.get(name, {}).get("outs")]:
        raise UserError(f"{LOCK} has no outputs of {', '.join(missing)}: run `dvc repro` first")
    return lock


def main() -> int:
    """Print the files that differ. Return 1 if there are any, else 0."""
    cli.no_arguments(__doc__)
    read_config()
    lock = _read_lock()
    _check_inputs()
    if compose(params=Path("params.yaml")).train.init_from:
        raise UserError("cannot verify: train.init_from names a model that may have changed")

    cache = cache_folder()
    params = Path("params.yaml").read_bytes()
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        made = Path(folder)
        (made / "params.yaml").write_bytes(params)
        run_stages(stage_commands(REPOSITORY), made, REPOSITORY, Path(sys.executable).parent)
        same, other = differing(lock, made, cache)
    for name in other:
        print(f"differs: {name}")
    print(f"{len(same)} of {len(same) + len(other)} files match dvc.lock")
    if other:
        print(
            "A different CPU, number of threads or package version may change the last bits: "
            "see docs/promises.md"
        )
    return 1 if other else 0


if __name__ == "__main__":
    cli.run(main)
