"""The models of a server. An alias that moves to another version is followed."""

import sys
import threading
from collections.abc import Callable
from dataclasses import replace

from pipeline.artifacts.loading import Loaded
from pipeline.system.colour import print_warning
from pipeline.system.errors import UserError, one_line

Load = Callable[[str], Loaded]
Version = Callable[[str], str]


class Models:
    """Models by their URIs. A request keeps the model with which it began."""

    def __init__(self, uris: list[str], load: Load) -> None:
        """Load all models.

        Args:
            uris: the first one answers; the others are shown beside it.
            load: loads the model of a URI.

        Raises:
            UserError: when a model cannot be loaded.
        """
        self._load = load
        self.loaded = [load(uri) for uri in uris]
        self._stopped = threading.Event()

    def follow(self, version_of: Version, seconds: float) -> None:
        """Look for new versions in a thread, until `stop`.

        Args:
            version_of: the version that a URI stands for now.
            seconds: between two looks.
        """

        def watch() -> None:
            while not self._stopped.wait(seconds):
                self.refresh(version_of)

        threading.Thread(target=watch, name="versions", daemon=True).start()

    def refresh(self, version_of: Version) -> None:
        """Load each model whose URI stands for another version. A failure keeps the old one."""
        for number, old in enumerate(self.loaded):
            try:
                version = version_of(old.uri)
                if not version or version == old.version:
                    continue
                self.loaded[number] = replace(self._load(old.uri), version=version)
                print(f"{old.uri} is version {version} now", file=sys.stderr)
            except (UserError, OSError) as error:  # OSError: a full disk, a lost network drive
                print_warning(f"{old.uri} stays version {old.version}: {one_line(error)}")

    def stop(self) -> None:
        """Stop looking for new versions."""
        self._stopped.set()
