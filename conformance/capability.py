"""What an implementation is asked for, by the capabilities that it declares."""

from adapters.common import takes_axes
from adapters.interface import Capabilities, Spec


def refusal(spec: Spec, capabilities: Capabilities) -> str:
    """Why a case of this spec is not asked for, by the declared capabilities; empty where it is."""
    if spec.rank not in capabilities.ranks:
        return f"declares no rank {spec.rank}"
    if not takes_axes(spec, capabilities.axes):
        return f"declares axes {capabilities.axes!r} only"
    if spec.dtype not in capabilities.dtypes:
        return f"declares no {spec.dtype}"
    if not capabilities.flags and not (spec.center and spec.scale):
        return "declares no center=False and scale=False"
    return ""
