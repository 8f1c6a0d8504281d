"""Where our own pages are, for what leaves the house: rails and mails lead people back to them."""

from billing.models import Notice


def of_recharge(ref: str, *, public_url: str) -> str:
    """A recharge's page: where a payer comes back to who had to confirm a charge."""
    return f"{public_url}/history/{ref}/"


def of_notice(notice: Notice, *, public_url: str) -> str:
    """The page about what a notice tells: its recharge, else its line, else all notices."""
    if notice.recharge:
        return of_recharge(notice.recharge.ref, public_url=public_url)
    if notice.line:
        return f"{public_url}/lines/{notice.line.public_id}/"
    return f"{public_url}/notices/"
