"""Numbers as people read them."""


def percent(share: float) -> str:
    """A share as a percentage with two digits, such as `99.41 %`."""
    return f"{100 * share:.2f} %"
