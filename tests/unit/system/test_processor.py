import os
import re
import subprocess
import sys

import pytest

from pipeline.config.paths import REPOSITORY
from pipeline.system.processor import cpu, usable_cores


def test_processor_has_a_name_on_one_line() -> None:
    assert re.fullmatch(r"\S.*\S", cpu())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="taskset needs Linux")
def test_only_the_cores_that_the_process_may_use_are_counted() -> None:
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, [{one}])\n"
        "from pipeline.system.processor import usable_cores; print(usable_cores())"
    )
    output = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={**os.environ, "LOKY_MAX_CPU_COUNT": "many"},  # joblib's own variable, not a number
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output == "1\n"
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
