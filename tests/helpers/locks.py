"""Whole and damaged texts of dvc.lock."""

import yaml

WHOLE = yaml.safe_dump(
    {
        "schema": "2.0",
        "stages": {
            "fetch": {
                "cmd": "python -m pipeline.fetch",
                "deps": [{"path": "pipeline/fetch.py", "md5": "a" * 32, "size": 3}],
                "params": {"composed.yaml": {"data.name": "tiny"}},
                "outs": [{"path": "data/raw", "md5": "b" * 32 + ".dir", "nfiles": 4}],
            },
            "train": {
                "cmd": "python -m pipeline.train",
                "deps": [{"path": "data/raw", "md5": "b" * 32 + ".dir"}],
                "outs": [{"path": "model", "md5": "c" * 32, "isexec": True}],
            },
        },
    },
    sort_keys=False,
)
UNREADABLE = {
    "empty": "",
    "only a schema": "schema: '2.0'\n",
    "no stages": "schema: '2.0'\nstages:\n",
    "no command": WHOLE.replace("    cmd: python -m pipeline.train\n", ""),
    "no digest": WHOLE[: WHOLE.index("md5: ccc")].rstrip(" -\n") + "\n",
    "half a key": WHOLE[: WHOLE.index("md5: ccc") + 2],
    "not YAML": "stages: [",
    "a list": "- stages",
    "zeros": "\0" * 100,
    "a conflict of git": WHOLE.replace(
        "    cmd: python -m pipeline.train\n",
        "<<<<<<< HEAD\n    cmd: python -m pipeline.train\n=======\n    cmd: train\n>>>>>>> other\n",
    ),
}
