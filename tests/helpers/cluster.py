"""Several hosts on one machine, and what runs across them: PostgreSQL, MLflow, Dask, Ray.

A host is a network namespace with its own name and folder. The first host, the head, holds the
bridge that joins them, so that the machine's network can neither see nor reach the hosts. Each
process of a host can be found by its namespace, however it was forked.
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock

MEMORY = Path("/dev/shm")
NETWORK = "10.77.0"  # only inside the namespaces, so that two test runs do not meet
# With these settings, a host that is cut off counts as lost after 10 to 20 seconds, not minutes.
# Dask uses the time-outs of TCP, which a busy worker does not exceed.
DASK = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "15s"}
RAY = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}


@dataclass(frozen=True)
class Host:
    namespace: str
    head: str  # the namespace that holds the bridge
    number: int
    folder: Path

    @property
    def name(self) -> str:
        return f"host{self.number}"

    @property
    def memory(self) -> Path:
        return MEMORY / self.namespace

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number}"

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command, whose output goes to a log file in the folder of this host."""
        with self._log(command).open("a") as log:
            return subprocess.Popen(
                self._inside(command),
                cwd=self.folder,
                env=self._environment(variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def run(
        self, *command: str, status: int | None = 0, timeout: float = 120, **variables: str
    ) -> str:
        """Run a command; return what it printed, and fail if its exit status differs."""
        result = subprocess.run(
            self._inside(command),
            cwd=self.folder,
            env=self._environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert status in (None, result.returncode), (
            f"{command}: {result.returncode}\n{result.stdout}"
        )
        return result.stdout

    def wait(self, process: subprocess.Popen[str], *command: str, seconds: float = 90) -> None:
        """Repeat a command until it succeeds, which shows that the server is ready."""
        deadline = time.monotonic() + seconds
        output = "nothing"
        while (left := deadline - time.monotonic()) > 0:
            assert process.poll() is None, f"{process.args!r} ended\n{self.logs()}"
            try:
                self.run(*command, timeout=left)
                return
            except (AssertionError, subprocess.TimeoutExpired) as error:
                output = str(error)
            time.sleep(0.2)
        raise AssertionError(f"{process.args!r} does not answer: {output}\n{self.logs()}")

    def logs(self) -> str:
        return "\n".join(f"{log}:\n{log.read_text()[-3000:]}" for log in self.folder.glob("*.log"))

    def last_log(self) -> str:
        """The output of the command that was started last."""
        logs = self.folder.glob("*.log")
        return max(logs, key=lambda log: int(log.name.partition("-")[0])).read_text()

    def cut(self) -> None:
        """Pull the cable: the host keeps running, but nobody can reach it."""
        _ip("-n", self.head, "link", "set", f"port{self.number}", "down")

    def mend(self) -> None:
        _ip("-n", self.head, "link", "set", f"port{self.number}", "up")

    def kill(self) -> None:
        """Pull the plug: every process of this host ends at once."""
        _kill(self.namespace)

    def _log(self, command: Sequence[str]) -> Path:
        return self.folder / f"{len(list(self.folder.glob('*.log')))}-{Path(command[0]).name}.log"

    def _inside(self, command: Sequence[str]) -> list[str]:
        # Each host has its own host name, by which programs distinguish machines, the names of the
        # others, and its own shared memory, which killed programs leave full. Every step is an
        # exec, so that the started process is that of the command.
        names = self.folder.parent / "hosts"
        mounts = f"mount --bind {names} /etc/hosts && mount --bind {self.memory} /dev/shm"
        for other in self.folder.parent.iterdir():  # hide the folders of the other hosts
            if other.is_dir() and other != self.folder:
                mounts += f" && mount -t tmpfs tmpfs {other}"
        own = f'hostname {self.name} && {mounts} && exec "$@"'
        enter = ["ip", "netns", "exec", self.namespace, "unshare", "--uts"]
        return [*enter, "sh", "-c", own, "sh", *command]

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The environment of a user of this host who has activated `.venv` in the folder."""
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("MLFLOW_", "DVC_", "GIT_", "DASK_", "RAY_", "PYTEST_"))
        }
        tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": tools, "PYTHONPATH": str(self.folder), "PYTHONUNBUFFERED": "1"}
        # A token in the home folder, which any local use of Ray leaves, would lock its servers.
        own["RAY_AUTH_MODE"] = "disabled"
        return {**inherited, **own, **variables}


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """A head and `count` other hosts on one network, until the block ends."""
    _clear_dead()
    # Ray's sockets need a short path, and PostgreSQL's user needs one that it may read.
    folder = Path(tempfile.gettempdir()) / f"mnist-{os.getpid()}"
    try:
        # Fail if another program has left a folder of this name, instead of removing it.
        folder.mkdir()
        made: list[Host] = []
        for number in range(1, count + 2):
            namespace = f"{folder.name}-{number}"
            head = made[0].namespace if made else namespace
            made.append(Host(namespace, head, number, folder / str(number)))
            made[-1].folder.mkdir()
            made[-1].memory.mkdir(mode=0o777)
            _connect(made[-1])
        names = "".join(f"{host.address} {host.name}\n" for host in made)
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
        yield made
    finally:
        _clear(folder.name)


class Postgres:
    """A PostgreSQL server on a host. Its files remain when it ends.

    Attributes:
        password: that of the user `mnist`.
    """

    # PostgreSQL refuses to run as root.
    _USER = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups")

    def __init__(self, head: Host) -> None:
        """Create the files."""
        found = Path("/usr/lib/postgresql").glob("*/bin")
        self._programs = max(found, key=lambda path: int(path.parts[-2]))
        self._head, self._data = head, head.folder / "postgres"
        self.password = secrets.token_hex(16)
        self._data.mkdir()
        shutil.chown(self._data, "postgres")
        key = head.folder / "password"
        key.touch(0o600)
        key.write_text(self.password)
        shutil.chown(key, "postgres")
        initdb = ["--pgdata", str(self._data), "--username=mnist", f"--pwfile={key}", "--no-sync"]
        command = [f"{self._programs}/initdb", "--auth=scram-sha-256", "--encoding=UTF8", *initdb]
        head.run(*self._USER, *command)
        key.unlink()
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {NETWORK}.0/24 scram-sha-256\n")

    @property
    def address(self) -> str:
        """The address without the database, which is /optuna or /mlflow."""
        return f"postgresql://mnist:{self.password}@{self._head.address}"

    def start(self) -> None:
        settings = {
            "listen_addresses": f"{self._head.address},127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",  # no data outlive the test
        }
        options = [text for item in settings.items() for text in ("-c", "=".join(item))]
        command = [f"{self._programs}/postgres", "-D", str(self._data), *options]
        self._server = self._head.start(*self._USER, *command)
        ready = ["--host", self._head.address, "--username=mnist", "--dbname=postgres"]
        self._head.wait(self._server, f"{self._programs}/pg_isready", *ready)

    def create(self, database: str) -> None:
        host = ["--host", self._head.address, "--username=mnist"]
        command = [f"{self._programs}/createdb", *host, database]
        self._head.run(*command, PGPASSWORD=self.password)

    def end(self) -> None:
        """End it abruptly; with SIGKILL it would leave its shared memory allocated."""
        _end(self._server, signal.SIGQUIT)


@contextmanager
def postgres(head: Host) -> Iterator[Postgres]:
    """A PostgreSQL server with the databases `optuna` and `mlflow`."""
    server = Postgres(head)
    server.start()
    try:
        for database in ("optuna", "mlflow"):
            server.create(database)
        yield server
    finally:
        server.end()


@contextmanager
def mlflow_server(head: Host, database: str) -> Iterator[str]:
    """An MLflow server that stores runs in PostgreSQL and serves the artifacts."""
    store = ["--backend-store-uri", f"{database}/mlflow"]
    artifacts = ["--serve-artifacts", "--artifacts-destination", str(head.folder / "artifacts")]
    address = f"{head.address}:5000"
    where = ["--host", head.address, "--port", "5000", "--allowed-hosts", address, "--workers", "1"]
    command = ["python", "-m", "mlflow", "server", *where, *store, *artifacts]
    server = head.start(*command, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")  # starts faster
    try:
        ask = f"import urllib.request as r; r.urlopen('http://{address}/health', timeout=5)"
        head.wait(server, "python", "-c", ask, seconds=120)
        yield f"http://{address}"
    finally:
        _end(server)


@contextmanager
def dask_cluster(head: Host, workers: Sequence[Host]) -> Iterator[str]:
    """A Dask scheduler, and one worker with one thread on each other host."""
    address = f"tcp://{head.address}:8786"
    here = ["--host", head.address, "--port", "8786", "--no-dashboard"]
    started = [head.start("dask", "scheduler", *here, **DASK)]
    try:
        for host in workers:
            started.append(dask_worker(host, address))
        all_there = (
            "from distributed import Client; "
            f"Client('{address}', timeout=20).wait_for_workers({len(workers)}, timeout=60)"
        )
        head.wait(started[0], "python", "-c", all_there)
        yield address
    finally:
        for process in started:
            _end(process)


def dask_worker(host: Host, address: str) -> subprocess.Popen[str]:
    # Its nanny restarts a worker that is killed. Dask sets no memory limit here.
    of = ["--host", host.address, "--name", host.name, "--local-directory", str(host.folder)]
    each = ["--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--nanny"]
    return host.start("dask", "worker", address, *of, *each, **DASK)


@contextmanager
def ray_cluster(head: Host, workers: Sequence[Host]) -> Iterator[str]:
    """A Ray cluster: a head without processors, and one processor on each other host."""
    address = f"{head.address}:6379"
    only = ["--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false"]
    started: list[subprocess.Popen[str]] = []
    try:
        # One after another. A worker gives up when its head is not there yet, and each gives up
        # after 30 s, which three at once may need on a busy machine.
        started.append(_ray(head, *only, "--disable-usage-stats"))
        for host in workers:
            started.append(_ray(host, f"--address={address}", "--num-cpus=1"))
        all_there = (
            f"import ray; ray.init('{address}', log_to_driver=False); "
            f"assert ray.cluster_resources().get('CPU') == {len(workers)}"
        )
        head.wait(started[0], "python", "-c", all_there)
        yield address
    finally:
        for process in started:  # `ray stop` would end all Ray processes of this machine
            _end(process)


def _ray(host: Host, *options: str) -> subprocess.Popen[str]:
    """Start Ray on a host, and wait until it runs there."""
    # A new folder each time. In an old one, Ray finds an address, and would connect to the cluster
    # that another test run has at this address in other namespaces.
    own = [f"--node-ip-address={host.address}", f"--temp-dir={tempfile.mkdtemp(dir=host.folder)}"]
    small = ["--object-store-memory=100000000"]
    process = host.start("ray", "start", *options, *own, *small, "--block", **RAY)
    while "Ray runtime started" not in host.last_log():
        assert process.poll() is None, host.logs()
        time.sleep(0.2)
    return process


def _end(process: subprocess.Popen[str], how: signal.Signals = signal.SIGKILL) -> None:
    """End a process and its children, whatever process groups they are in."""
    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(how)
        process.wait(30)
        _, alive = psutil.wait_procs(children, timeout=0 if how is signal.SIGKILL else 5)
        for child in alive:
            child.kill()


def _connect(host: Host) -> None:
    _ip("netns", "add", host.namespace)
    _ip("-n", host.namespace, "link", "set", "lo", "up")
    if host.namespace == host.head:
        device = "bridge"
        _ip("-n", host.head, "link", "add", device, "type", "bridge")
    else:
        device, port = "eth0", f"port{host.number}"
        pair = ["type", "veth", "peer", "name", device, "netns", host.namespace]
        _ip("-n", host.head, "link", "add", port, *pair)
        _ip("-n", host.head, "link", "set", port, "master", "bridge", "up")
    _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", device)
    _ip("-n", host.namespace, "link", "set", device, "up")


def _clear_dead() -> None:
    """Remove what killed test runs have left."""
    # One at a time: two test processes would delete the same namespace.
    with FileLock(Path(tempfile.gettempdir()) / "mnist-clear.lock"):
        for name in _namespaces():
            owner = re.fullmatch(r"mnist-(\d+)-\d+", name)
            if owner and not psutil.pid_exists(int(owner[1])):
                _clear(f"mnist-{owner[1]}")


def _clear(run: str) -> None:
    for name in _namespaces():
        if re.fullmatch(rf"{run}-\d+", name):
            _kill(name)
            _ip("netns", "delete", name)  # this removes its links too
            shutil.rmtree(MEMORY / name, ignore_errors=True)
    shutil.rmtree(Path(tempfile.gettempdir()) / run, ignore_errors=True)


def _namespaces() -> list[str]:
    return [line.split()[0] for line in _ip("netns", "list").splitlines()]


def _kill(namespace: str) -> None:
    """End every process of a namespace, including those that start in the meantime."""
    deadline = time.monotonic() + 30
    while pids := [int(pid) for pid in _ip("netns", "pids", namespace).split()]:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert time.monotonic() < deadline, f"{namespace}: {pids} do not end"
        time.sleep(0.05)


def _ip(*arguments: str) -> str:
    return subprocess.run(
        ["ip", *arguments], check=True, stdout=subprocess.PIPE, text=True, timeout=30
    ).stdout
