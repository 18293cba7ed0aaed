"""Classes that cannot be used as adapters, or that declare what does not exist."""

# ruff: noqa: D102 - the docstring of a class says what its only method does

from typing import Any

from adapters.interface import BatchNormAdapter, Capabilities, Conventions, Description, Spec
from adapters.numpy_reference import NumpyReference

NOT_A_CLASS = 3


class NotAnAdapter:
    """Has no base class."""


class Incomplete(BatchNormAdapter):
    """Has describe() alone."""

    def describe(self) -> Description:
        return Description("incomplete", "1")


class NeedsArguments(NumpyReference):
    """Wants to be told a device."""

    def __init__(self, device: str) -> None:
        self.device = device


class RaisesWhenMade(NumpyReference):
    """Raises in its constructor."""

    def __init__(self) -> None:
        raise OSError("libcudart.so.99: cannot open shared object file")


class RaisesInDescribe(NumpyReference):
    """Raises in describe()."""

    def describe(self) -> Description:
        raise KeyError("version")


class DescribesNothing(NumpyReference):
    """Returns a dict from describe()."""

    def describe(self) -> Any:
        return {"framework": "mine"}


class NumericVersion(NumpyReference):
    """Has a number for its version."""

    def describe(self) -> Any:
        return Description("mine", 1.0)  # type: ignore[arg-type]


class UnknownCapability(NumpyReference):
    """Declares a capability that does not exist."""

    def describe(self) -> Description:
        return Description("mine", "1", capabilities=Capabilities(tapes=True))  # type: ignore[call-arg]


class UnknownAxes(NumpyReference):
    """Declares axes that do not exist."""

    def describe(self) -> Description:
        return Description("mine", "1", capabilities=Capabilities(axes="first"))


class UnknownDtype(NumpyReference):
    """Declares a dtype that does not exist."""

    def describe(self) -> Description:
        return Description("mine", "1", capabilities=Capabilities(dtypes=("float32", "fp16")))


class RanksAsNumber(NumpyReference):
    """Declares one rank, not a tuple of them."""

    def describe(self) -> Description:
        return Description("mine", "1", capabilities=Capabilities(ranks=4))  # type: ignore[arg-type]


class FlagAsNumber(NumpyReference):
    """Declares a flag as 1."""

    def describe(self) -> Description:
        return Description("mine", "1", capabilities=Capabilities(tape=1))  # type: ignore[arg-type]


class UnknownConvention(NumpyReference):
    """Declares a convention that does not exist."""

    def conventions(self, spec: Spec) -> Conventions:
        return Conventions(epsilon_flor=0.1)  # type: ignore[call-arg]


class UnknownEstimator(NumpyReference):
    """Misspells the estimator of the moving variance."""

    def conventions(self, spec: Spec) -> Conventions:
        return Conventions(moving_variance="unbaised")


class NegativeFloor(NumpyReference):
    """Declares an epsilon floor below zero."""

    def conventions(self, spec: Spec) -> Conventions:
        return Conventions(epsilon_floor=-1.0)
