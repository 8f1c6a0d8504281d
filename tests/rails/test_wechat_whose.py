"""Whose a notification is, one check at a time: genuine in all else, and about somebody else."""

import pytest

from billing.gateways.base import BadNotification
from tests.rails.wechat_notifications import (
    CHARGE,
    CONTRACT,
    FAILED,
    GENUINE,
    REFUND,
    V3_CHARGE,
    V3_CONTRACT,
    V3_REFUND,
    gateway,
    read,
    v2,
    v2_refund,
    v3,
)
from tests.rails.wechat_world import APP_ID

__all__ = ["gateway"]
NOBODYS = "1999999999"
ANOTHER_APP = "wx0000000000000000"


def without(fields, name):
    return {key: value for key, value in fields.items() if key != name}


@pytest.mark.parametrize("message", GENUINE)
def test_ours_is_read(gateway, message):
    assert read(gateway, message)[0].dedupe_id


@pytest.mark.parametrize(
    "message",
    [
        *(v2(fields | {"mch_id": NOBODYS}) for fields in (CHARGE, FAILED, CONTRACT)),
        *(v2(without(fields, "mch_id")) for fields in (CHARGE, FAILED, CONTRACT)),
        *(v2(fields | {"appid": ANOTHER_APP}) for fields in (CHARGE, FAILED, CONTRACT)),
        # A contract's names no application; a charge's always does.
        *(v2(without(fields, "appid")) for fields in (CHARGE, FAILED)),
        v2_refund(REFUND, mch_id=NOBODYS),
        v2_refund(REFUND, mch_id=""),
        v2_refund(REFUND, appid=ANOTHER_APP),
        v2_refund(REFUND, appid=""),
        ({}, v2_refund(REFUND)[1].replace(f"<appid><![CDATA[{APP_ID}]]></appid>".encode(), b"")),
        v2_refund(REFUND, return_code="FAIL"),
        *(
            v3(event, fields | other)
            for event, fields in (
                ("TRANSACTION.SUCCESS", V3_CHARGE),
                ("REFUND.SUCCESS", V3_REFUND),
                ("ENTRUST.SIGN", V3_CONTRACT),
            )
            for other in ({"mchid": NOBODYS}, {"mchid": None}, {"appid": ANOTHER_APP})
        ),
    ],
)
def test_anothers_is_refused(gateway, message):
    with pytest.raises(BadNotification, match=r"for another (merchant|application)"):
        read(gateway, message)
