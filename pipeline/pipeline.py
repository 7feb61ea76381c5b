"""Makes `python pipeline/train.py` work like `python -m pipeline.train`.

Python then looks for imports in this folder, where `import pipeline` finds this file. It puts the
package in its own place.
"""

import sys
from importlib import import_module
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
del sys.modules["pipeline"]
import_module("pipeline")
