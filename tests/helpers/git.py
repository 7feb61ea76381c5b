"""A small git repository for unit tests."""

import subprocess
from pathlib import Path


class Repository:
    """A git repository with a commit that has params.yaml, dvc.lock, code.py and edited.txt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--quiet", "--initial-branch=main")
        for name in ("params.yaml", "dvc.lock", "code.py", "edited.txt"):
            (folder / name).write_text(f"{name} as committed\n")
        self.commit()

    def git(self, *arguments: str) -> str:
        """Run git; return what it prints."""
        who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        result = subprocess.run(
            ["git", *who, *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        )
        return result.stdout.rstrip("\n")

    def commit(self) -> str:
        """Commit all files; return the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "test")
        return self.git("rev-parse", "HEAD")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def branch(self) -> str:
        """The branch of HEAD; "" if HEAD is detached."""
        return self.git("branch", "--show-current")
