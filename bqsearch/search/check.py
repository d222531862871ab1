"""What a check of a finished run says."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was compared.

    Attributes:
        name: What.
        passed: Whether it is as it should be; None where it could not be compared here.
        detail: The figures, in words; or what to install.
        predicted: What it should be, where that is a number.
        measured: And what it is.
    """

    name: str
    passed: bool | None
    detail: str
    predicted: int | None = None
    measured: int | None = None
