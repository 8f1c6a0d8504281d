"""The addresses that leave the house are pages of the portal."""

from types import SimpleNamespace

import pytest
from django.urls import reverse

from billing.notices import pages

SITE = "https://keepline.example"


@pytest.mark.parametrize(
    ("recharge", "line", "name", "args"),
    [
        (SimpleNamespace(ref="R1"), SimpleNamespace(public_id="L1"), "recharge", ["R1"]),
        (None, SimpleNamespace(public_id="L1"), "line", ["L1"]),
        (None, None, "notices", []),
    ],
)
def test_a_notice_leads_to_the_page_about_it(recharge, line, name, args):
    notice = SimpleNamespace(recharge=recharge, line=line)
    address = SITE + reverse(f"portal:{name}", args=args)
    assert pages.of_notice(notice, public_url=SITE) == address
