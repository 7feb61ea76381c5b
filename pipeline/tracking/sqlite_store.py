"""A store in an SQLite file: create it, upgrade it, and follow it when its folder has moved.

MLflow writes the addresses of artifacts into the file as absolute paths. So a project that was
moved or copied would use the artifacts of its old place.
"""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import pathname2url, url2pathname

import mlflow
from filelock import FileLock
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from pipeline.system.errors import UserError, one_line

# The columns of MLflow 3.17 that hold addresses of artifacts.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def sqlite_uri(path: Path) -> str:
    """The address of an SQLite file, whatever characters its path has."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def sqlite_path(uri: str) -> Path | None:
    """The path of the SQLite file that an address names; None for another kind of store."""
    try:
        url = make_url(uri)
    except ArgumentError:
        return None
    named = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(str(url.database)) if named else None


def artifacts_of(store: Path) -> Path:
    """The folder of a store's artifacts, beside the file. No two stores share one."""
    return store.with_name("mlruns" if store.name == "mlflow.db" else f"{store.stem}-mlruns")


def lock_of(store: Path) -> FileLock:
    """A lock between all processes and workspaces that use a store."""
    return FileLock(store.with_name(f".{store.name}.lock"), is_singleton=True)


def create_store(store: Path) -> None:
    """Create the SQLite file if it is missing. Call it under the lock.

    MLflow cannot open a database whose first migrations were interrupted. So the database is
    created under a temporary name, and renamed when it is complete.
    """
    if store.exists():
        return
    store.parent.mkdir(parents=True, exist_ok=True)
    part = store.with_name(f".{store.name}.part")
    part.unlink(missing_ok=True)
    mlflow.MlflowClient(sqlite_uri(part)).search_experiments(max_results=1)
    part.replace(store)


def mend_store(store: Path) -> None:
    """Upgrade a store of an older MLflow, and follow one that has moved. Say so in a line.

    Raises:
        UserError: when the upgrade fails, as it does for a store of a newer MLflow.
    """
    if not _is_current(store):
        with lock_of(store):
            if not _is_current(store):
                _upgrade(store)
    if _old_folders(store):
        with lock_of(store):
            if folders := _old_folders(store):
                _follow(store, folders)


def _is_current(store: Path) -> bool:
    """Whether a store has the newest tables that MLflow knows; true for what is not a store.

    MLflow itself would upgrade an older store without a word and without a backup.
    """
    try:
        with _opened(store) as database:
            [(revision,)] = database.execute("SELECT version_num FROM alembic_version")
    except (sqlite3.Error, ValueError):
        return True  # this is said when it is used
    # Each migration has a file, which is named after its revision and has that of the one before.
    migrations = list(Path(str(files("mlflow"))).glob("store/db_migrations/versions/*.py"))
    others = [path for path in migrations if not path.name.startswith(revision)]
    return len(others) < len(migrations) and not any(
        revision in path.read_text() for path in others
    )


def _upgrade(store: Path) -> None:
    backup = _backup(store, "before-upgrade")
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", sqlite_uri(store)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = one_line(result.stderr.strip().rpartition("\n")[2])
        raise UserError(
            f"{store} was made by another version of MLflow, and {mlflow.__version__} cannot "
            f"upgrade it: {reason}. Install that version, or move the file away"
        )
    print(
        f"{store.name} is upgraded to MLflow {mlflow.__version__}; backup: {backup.name}",
        file=sys.stderr,
    )


def _old_folders(store: Path) -> list[Path]:
    """The folders from which a store has come, by the addresses in it."""
    try:
        with _opened(store) as database:
            # An experiment that MLflow has made on its own, and that has no runs, does not count.
            locations = database.execute(
                "SELECT artifact_location FROM experiments AS e WHERE artifact_location LIKE "
                "'file:%' OR EXISTS (SELECT 1 FROM runs WHERE experiment_id = e.experiment_id)"
            )
            folders = {_folder_of(location or "", store) for (location,) in locations}
            return sorted(old for old in folders if old and _has_come_from(old, store, database))
    except sqlite3.Error:
        return []  # it is not a store; this is said when it is used


def _folder_of(location: str, store: Path) -> Path | None:
    """The folder that a store was in, by the location of an experiment's artifacts.

    None if the location is not that of a store with this name.
    """
    scheme, _, path, *_ = urlparse(location)
    folder = Path(url2pathname(path) if scheme == "file" else location)
    for artifacts in (folder, folder.parent):
        if artifacts.is_absolute() and artifacts.name == artifacts_of(store).name:
            return artifacts.parent
    return None


def _has_come_from(old: Path, store: Path, database: sqlite3.Connection) -> bool:
    """Whether a store was in a folder before a move or a copy that took the artifacts along."""
    twin = old / store.name
    if old == store.parent or (twin.exists() and twin.samefile(store)):
        return False
    if artifacts_of(twin).exists() and not twin.exists():
        return False  # somebody has put the artifacts there on purpose
    uris = [
        uri[len(start) :]
        for start in _prefixes(old)
        for (uri,) in database.execute(
            "SELECT artifact_uri FROM runs WHERE substr(artifact_uri, 1, ?) = ?",
            (len(start), start),
        )
    ]
    return not uris or any((store.parent / url2pathname(uri)).exists() for uri in uris)


def _follow(store: Path, folders: list[Path]) -> None:
    """Replace old folders in all addresses. A kill leaves all of them old, or all new."""
    backup = _backup(store, "before-move")
    with _opened(store) as database, database:
        for old in folders:
            for before, after in zip(_prefixes(old), _prefixes(store.parent), strict=True):
                for table, column in _ADDRESSES:
                    database.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                        f"WHERE substr({column}, 1, ?) = ?",
                        (after, len(before) + 1, len(before), before),
                    )
    print(
        f"{store.name} has moved here from {', '.join(map(str, folders))}: its runs now name the "
        f"artifacts in {store.parent}; backup: {backup.name}",
        file=sys.stderr,
    )


def _prefixes(folder: Path) -> tuple[str, ...]:
    """How MLflow writes the start of an address in a folder."""
    return (f"{folder.as_uri()}/", f"file://{pathname2url(str(folder))}/", f"{folder}/")


def _backup(store: Path, name: str) -> Path:
    """Copy a database that may be in use. An earlier backup of the name is replaced."""
    backup = store.with_name(f"{store.name}.{name}")
    part = store.with_name(f".{backup.name}.part")
    part.unlink(missing_ok=True)
    with _opened(store) as source, closing(sqlite3.connect(part)) as target:
        source.backup(target)
    part.replace(backup)
    return backup


@contextmanager
def _opened(store: Path) -> Iterator[sqlite3.Connection]:
    """An SQLite file that exists already."""
    with closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=rw", uri=True)) as database:
        yield database
