"""Lines put in and proven, by the shortest road that `lifecycle` allows."""

from lines import lifecycle
from tests import world
from tests.world import NOON

NUMBER, OTHER_NUMBER = "138 0013 8000", "139 0013 9000"
E164 = "+8613800138000"
ICCID = "8944538532008160222"
OTHER_ICCID = "8997212330099025334"
LPA = "LPA:1$smdp.example.com$K2-1F8-ABCD"
EID = "89049032123451234512345678901235"


def add(owner=None, **more):
    given = {"msisdn": NUMBER, "iccid": ICCID, "timezone": "Asia/Shanghai", "at": NOON}
    owner = owner or world.person()
    return lifecycle.add_fm(owner=owner, carrier=world.carrier(), **given | more)


def add_esim(owner=None, **more):
    given = {"activation_code": LPA, "msisdn": NUMBER, "timezone": "Asia/Shanghai", "at": NOON}
    owner = owner or world.person()
    return lifecycle.add_esim(owner=owner, carrier=world.carrier(), **given | more)


def add_data_only(owner=None):
    return add_esim(owner, msisdn="", iccid=ICCID)


def proven(owner=None, **more):
    line = add(owner, **more)
    request = lifecycle.request_proof(line=line, at=NOON)
    return lifecycle.prove(line=line, code=request.code, at=NOON)
