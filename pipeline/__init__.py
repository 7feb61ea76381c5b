"""An experiment-tracked pipeline that identifies handwritten digits.

This folder holds the commands, one verb per file, and the two modules that `conf/` names in
`_target_`: `models` and `augment`. Everything else belongs in a package below.
"""

from pipeline.system.environment import set_environment
from pipeline.system.imports import adjust_imports

set_environment()
adjust_imports()
