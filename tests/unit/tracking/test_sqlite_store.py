"""Real SQLite stores, which are moved, copied, and made by other versions of MLflow."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline.system.errors import UserError
from pipeline.tracking import sqlite_store
from pipeline.tracking.sqlite_store import mend_store, sqlite_path, sqlite_uri

NAMES = [
    "plain",
    "100%",
    "a%20b",
    "what?",
    "a#b",
    'q"uote',
    "it's",
    "größe 9 ×",
    "a;b&c=d@e:f",
    "日本",
]
CONNECT = """
import os, sys, time
from pipeline.tracking import sqlite_store, store
create, late = sqlite_store.create_store, sys.argv[1:]
def wait(path):
    time.sleep(2)
    create(path)
if late:
    store.create_store = wait
store.connect("digits")
"""


@pytest.mark.parametrize("name", NAMES)
def test_address_of_any_path_leads_back_to_it(tmp_path: Path, name: str) -> None:
    assert sqlite_path(sqlite_uri(tmp_path / name / "a.db")) == tmp_path / name / "a.db"


@pytest.mark.parametrize(
    "uri", ["http://host/a.db", "sqlite://", "sqlite:///:memory:", "mlruns", "", "databricks", "::"]
)
def test_other_stores_have_no_path(uri: str) -> None:
    assert sqlite_path(uri) is None


class Stored:
    """A store in a folder, with an experiment, a run, a logged model and a registered version."""

    def __init__(self, folder: Path, empty_database: Path) -> None:
        folder.mkdir(parents=True)
        shutil.copy(empty_database, folder / "mlflow.db")
        mlflow.set_tracking_uri(sqlite_uri(folder / "mlflow.db"))
        client = MlflowClient()
        experiment = client.create_experiment("digits", (folder / "mlruns").as_uri())
        self.run_id = client.create_run(experiment).info.run_id
        client.log_text(self.run_id, "text", "a.txt")
        model = client.create_logged_model(experiment, name="model", source_run_id=self.run_id)
        self.model_id = model.model_id
        client.finalize_logged_model(self.model_id, "READY")
        client.create_registered_model("reader")
        client.create_model_version("reader", f"models:/{self.model_id}", model_id=self.model_id)

    def addresses(self, folder: Path) -> list[str]:
        """The addresses that the store in a folder has, except of the experiment `Default`."""
        mlflow.set_tracking_uri(sqlite_uri(folder / "mlflow.db"))
        client = MlflowClient()
        return [
            str(client.get_experiment("1").artifact_location),
            str(client.get_run(self.run_id).info.artifact_uri),
            str(client.get_logged_model(self.model_id).artifact_location),
            str(client.get_model_version_download_uri("reader", "1")),
        ]


def assert_here(stored: Stored, folder: Path) -> None:
    """All addresses of the store in a folder are in this folder, and the artifact is there."""
    addresses = stored.addresses(folder)
    assert all(uri.startswith(f"{folder.as_uri()}/mlruns") for uri in addresses)
    assert (Path(url2pathname(urlparse(addresses[1]).path)) / "a.txt").read_text() == "text"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_moved_store_names_its_artifacts_in_the_new_place(
    tmp_path: Path, empty_database: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a folder of any name to another, and back again."""
    places = [tmp_path / "old" / name, tmp_path / "new" / name[::-1], tmp_path / "old" / name]
    stored = Stored(places[0], empty_database)
    for old, new in pairwise(places):
        new.parent.mkdir(exist_ok=True)
        old.rename(new)
        mend_store(new / "mlflow.db")
        assert len(capsys.readouterr().err.splitlines()) == 1
        mend_store(new / "mlflow.db")
        assert capsys.readouterr().err == "", "once is enough"
        assert_here(stored, new)
    assert (new / "mlflow.db.before-move").is_file()


def test_copy_does_not_touch_the_original(tmp_path: Path, empty_database: Path) -> None:
    stored = Stored(tmp_path / "one", empty_database)
    before = stored.addresses(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    shutil.copytree(tmp_path / "two", tmp_path / "three")
    for name in ("one", "two", "three"):
        mend_store(tmp_path / name / "mlflow.db")
        assert_here(stored, tmp_path / name)
    assert stored.addresses(tmp_path / "one") == before


def test_project_with_two_paths_has_not_moved(tmp_path: Path, empty_database: Path) -> None:
    stored = Stored(tmp_path / "real", empty_database)
    before = stored.addresses(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    mend_store(tmp_path / "link" / "mlflow.db")
    assert stored.addresses(tmp_path / "real") == before
    assert not list((tmp_path / "real").glob("*.before-move"))


def test_artifacts_that_are_elsewhere_on_purpose_stay_there(
    tmp_path: Path, empty_database: Path
) -> None:
    stored = Stored(tmp_path / "one", empty_database)
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "mlflow.db").rename(tmp_path / "two" / "mlflow.db")
    before = stored.addresses(tmp_path / "two")
    mend_store(tmp_path / "two" / "mlflow.db")
    assert stored.addresses(tmp_path / "two") == before
    # The same if the place cannot be reached for a while.
    (tmp_path / "one").rename(tmp_path / "away")
    mend_store(tmp_path / "two" / "mlflow.db")
    assert stored.addresses(tmp_path / "two") == before


@pytest.mark.slow
def test_kill_while_addresses_are_replaced_loses_nothing(
    tmp_path: Path, empty_database: Path
) -> None:
    stored = Stored(tmp_path / "old", empty_database)
    (tmp_path / "old").rename(tmp_path / "new")
    store = tmp_path / "new" / "mlflow.db"
    # Killed after three of the five columns.
    code = (
        "import os, sys; from pathlib import Path; from pipeline.tracking import sqlite_store as s;"
        "columns = iter(s._ADDRESSES); s._ADDRESSES = (c for i, c in enumerate(columns) "
        "if i < 3 or os._exit(9)); s._follow(Path(sys.argv[1]), [Path(sys.argv[2])])"
    )
    killed = subprocess.run([sys.executable, "-c", code, store, tmp_path / "old"], check=False)
    assert killed.returncode == 9
    mend_store(store)
    assert_here(stored, tmp_path / "new")


def test_damaged_file_is_left_to_the_next_command(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"garbage" * 1000)
    mend_store(tmp_path / "mlflow.db")
    assert (tmp_path / "mlflow.db").read_bytes() == b"garbage" * 1000


def set_revision(store: Path, revision: str) -> None:
    with closing(sqlite3.connect(store)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def revision_of(store: Path) -> str:
    with closing(sqlite3.connect(store)) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.fixture
def old_store(tmp_path: Path, empty_database: Path) -> Path:
    """A store of an older MLflow: the newest migration is taken back."""
    import alembic.command
    from alembic.config import Config

    store = tmp_path / "mlflow.db"
    shutil.copy(empty_database, store)
    config = Config()
    migrations = Path(mlflow.__file__).parent / "store/db_migrations"
    config.set_main_option("script_location", str(migrations))
    config.set_main_option("sqlalchemy.url", sqlite_uri(store).replace("%", "%%"))
    alembic.command.downgrade(config, "-1")
    return store


@pytest.mark.slow
def test_store_of_an_older_mlflow_is_upgraded(
    old_store: Path, empty_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = revision_of(old_store)
    assert old != revision_of(empty_database)
    capsys.readouterr()
    mend_store(old_store)
    assert revision_of(old_store) == revision_of(empty_database)
    assert revision_of(old_store.with_name("mlflow.db.before-upgrade")) == old
    [line] = capsys.readouterr().err.splitlines()
    assert "is upgraded to MLflow" in line
    MlflowClient(sqlite_uri(old_store)).create_experiment("works")


@pytest.mark.slow
def test_store_of_a_newer_mlflow_is_one_line(tmp_path: Path, empty_database: Path) -> None:
    store = tmp_path / "mlflow.db"
    shutil.copy(empty_database, store)
    set_revision(store, "ffffffffffff")
    with pytest.raises(UserError, match=r"another version of MLflow.*ffffffffffff.*move the file"):
        mend_store(store)
    assert revision_of(store) == "ffffffffffff"


@pytest.mark.slow
def test_two_first_users_of_a_named_store(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them is delayed between the look at the file and its creation."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///stores/named.db")
    processes = [
        subprocess.Popen([sys.executable, "-c", CONNECT, *late]) for late in (["late"], [], [])
    ]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    store = repository / "stores/named.db"
    [experiment] = [
        found
        for found in MlflowClient(sqlite_uri(store)).search_experiments()
        if found.name == "digits"
    ]
    assert experiment.artifact_location == (repository / "stores/named-mlruns").as_uri()


def test_columns_with_addresses_exist(empty_database: Path) -> None:
    with closing(sqlite3.connect(empty_database)) as database:
        for table, column in sqlite_store._ADDRESSES:
            names = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            assert column in names
