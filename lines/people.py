"""What is known here of a person: the accounts belong to the edge, and no model of theirs is ours.

A protocol, so that whoever has an account may be handed in, and nothing else of theirs is touched.
"""

from typing import Protocol


class Person(Protocol):
    """Somebody with an account: an owner of lines, or an operator."""

    @property
    def pk(self) -> int: ...

    @property
    def public_id(self) -> str: ...

    @property
    def timezone(self) -> str: ...
