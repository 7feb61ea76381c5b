"""What YAML can hold in place of a value or a key of the configuration, for Hypothesis."""

import string
from typing import Any

from hypothesis import strategies as st

# In params.yaml, these are booleans, as a person means them. DVC writes such a text without quotes.
BOOLEANS = {"yes", "no", "on", "off"}
# OmegaConf gives `${` and `???` a meaning, in conf/ as in params.yaml.
# DVC's ruamel.yaml writes U+0085, a line end of YAML, as it is, and reads it back as a space.
TEXT = st.text(st.characters(exclude_characters="\x85", exclude_categories=["Cs"])).filter(
    lambda text: "${" not in text and text != "???" and text.lower() not in BOOLEANS
)
# Keys of a mapping inside a list. The grammar knows no quotes around a key, so these are names.
NAMES = st.text(string.ascii_letters + "_", min_size=1, max_size=8).filter(
    lambda name: name.lower() not in {"null", "true", "false", "nan", "inf", *BOOLEANS}
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | TEXT
    # Texts that Hydra's grammar would read as something else.
    | st.sampled_from(["", "null", "true", "1", "1e3", "inf", " a ", "a=b", "[a]", "{a:1}", "a,b"])
    | st.text("\\'\"", max_size=6)
)
# Values that a params.yaml may set.
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, min_size=1),
    max_leaves=8,
)
# Values and keys that no configuration has.
ODD = VALUES | st.floats() | st.dates() | st.integers(10**4000, 10**4001) | st.binary(max_size=4)
KEYS = SCALARS | st.floats() | st.dates() | st.sampled_from(["_target_", "function-x", "a" * 300])


def places(values: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in nested mappings and lists."""
    if isinstance(values, dict):
        items = list(values.items())
    else:
        items = list(enumerate(values)) if isinstance(values, list) else []
    inside = [place for key, value in items for place in places(value, (*above, key))]
    return [(*above, key) for key, _ in items] + inside
