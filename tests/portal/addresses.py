"""Every address of the portal, and what a signed-in owner gets there: the matrix tests walk it.

A new page fails `TestEveryAddress` until it is listed here, and so cannot miss the other tests.
"""

from dataclasses import dataclass

from django.urls import reverse

from billing.models import Binding, Recharge
from lines.models import Line
from portal.accounts.models import User


@dataclass(frozen=True)
class Address:
    """`of`: what its argument names ("line", "esim", "binding", "recharge" or ""). `is_post`: it
    acts, and so answers GET with 405."""

    name: str
    of: str = ""
    is_post: bool = False
    answers: int = 200
    is_download: bool = False
    is_open: bool = False


ADDRESSES = (
    Address("home", is_open=True),
    Address("add"),
    Address("add-kind", of="kind"),
    Address("line", of="line"),
    Address("prove", of="line", answers=302),  # Alice's is verified already
    Address("send-code", of="line", is_post=True),
    Address("story", of="line"),
    Address("install", of="esim"),
    Address("rename", of="line"),
    Address("remove", of="line"),
    Address("by-hand", of="line"),
    Address("rules"),
    Address("choose-line"),
    Address("setup", of="line", answers=302),
    Address("setup-tool", of="line"),
    Address("setup-amount", of="line"),
    Address("setup-low", of="line"),
    Address("setup-limits", of="line"),
    Address("setup-review", of="line"),
    Address("setup-done", of="line"),
    Address("pause", of="line"),
    Address("resume", of="line", is_post=True),
    Address("skip", of="line", is_post=True),
    Address("unskip", of="line", is_post=True),
    Address("stop", of="line"),
    Address("payment"),
    Address("bind", is_post=True),
    Address("binding", of="binding"),
    Address("binding-default", of="binding", is_post=True),
    Address("binding-resume", of="binding", is_post=True),
    Address("binding-remove", of="binding"),
    Address("history"),
    Address("csv", is_download=True),
    Address("calendar", is_download=True),
    Address("recharge", of="recharge"),
    Address("receipt", of="recharge"),
    Address("recharge-cancel", of="recharge", is_post=True),
    Address("notices"),
    Address("notices-read", is_post=True),
    Address("account"),
    Address("leave"),
)
OWNED = tuple(one for one in ADDRESSES if one.of not in ("", "kind"))
PAGES = tuple(one for one in ADDRESSES if not one.is_post and not one.is_download)


def url(address: Address, owner: User) -> str:
    """The address for what `owner` has."""
    return reverse(f"portal:{address.name}", args=_arguments(address, owner))


def _arguments(address: Address, owner: User) -> list[str]:
    lines = Line.objects.filter(owner=owner)
    if address.of == "kind":
        return ["esim"]
    if address.of == "line":
        return [lines.filter(kind="fm")[0].public_id]
    if address.of == "esim":
        return [lines.filter(kind="esim")[0].public_id]
    if address.of == "binding":
        return [Binding.objects.filter(owner=owner)[0].ref]
    if address.of == "recharge":
        paid = Recharge.objects.filter(owner=owner, charged_at__isnull=False)
        return [paid.order_by("-pk")[0].ref]
    return []
