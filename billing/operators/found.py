"""What a person may find on the pages of a rail, a bank or a carrier, and why it may be refused."""

from dataclasses import dataclass

from billing.states import Finding


class NotSettleable(Exception):
    """They are still asked about it, or it has an end: there is nothing for people to say."""


class NotWithinCharge(Exception):
    """More than was charged and has not gone back, or in another currency: that is not what was
    disputed. `left_minor` may be."""

    def __init__(self, left_minor: int) -> None:
        super().__init__(f"{left_minor} left")
        self.left_minor = left_minor


class AlreadyReturned(Exception):
    """Another payment was given back under that reference already."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a person found. An amount only of what moved otherwise than agreed, or is lost."""

    finding: Finding
    payment_ref: str = ""
    taken_minor: int | None = None
    taken_currency: str = ""
    returned_ref: str = ""
