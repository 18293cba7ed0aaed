"""The record of how an implementation's moving statistics settle on one batch that is trained on again and again."""

from typing import Literal

import msgspec


class Settling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is left, after each step, of the distance from the batch's statistic, as a share of that at the start.

    It should shrink by the factor ``decay`` a step.
    """

    dtype: str
    decay: float
    mean: list[float | Literal["nan", "inf", "-inf"]] = []
    variance: list[float | Literal["nan", "inf", "-inf"]] = []
    #: Why it was not measured.
    reason: str = ""
