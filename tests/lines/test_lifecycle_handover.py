"""A number that a carrier has given to somebody else: whoever shows it today has it."""

import pytest
from django.utils import translation

from lines import lifecycle
from lines.models import Line, LineStatus
from tests import world
from tests.lines.putting_in import E164, ICCID, OTHER_ICCID, OTHER_NUMBER, add, proven
from tests.race import race
from tests.world import HOUR, MINUTE, NOON

pytestmark = pytest.mark.django_db

LATER = NOON + HOUR


def claimed_by_bob(**more):
    """Alice has proven the number; Bob claims it, and holds the code sent to it an hour later."""
    alices = proven()
    bobs = add(world.person("bob"), **{"iccid": OTHER_ICCID} | more)
    return alices, bobs, lifecycle.request_proof(line=bobs, at=LATER).code


def taken(line, code, *, at=LATER + MINUTE, **more):
    with pytest.raises(lifecycle.NumberTaken) as refusal:
        lifecycle.prove(line=line, code=code, at=at, **more)
    return refusal.value


class TestAProofOfToday:
    def test_outweighs_one_of_long_ago(self):
        alices, bobs, code = claimed_by_bob()
        ended = []

        lifecycle.prove(line=bobs, code=code, at=LATER + MINUTE, gave_way=ended.append)

        assert ended == [alices]
        alices.refresh_from_db()
        assert (alices.status, alices.poll_at) == (LineStatus.TERMINATED, None)
        assert (alices.msisdn, alices.verified_at) == (E164, NOON)
        bobs.refresh_from_db()
        assert (bobs.status, bobs.verified_at) == (LineStatus.ACTIVE, LATER + MINUTE)

    @pytest.mark.parametrize("status", [LineStatus.SUSPENDED, LineStatus.EXPIRED])
    def test_outweighs_a_line_that_lies_idle(self, status):
        alices, bobs, code = claimed_by_bob()
        Line.objects.filter(pk=alices.pk).update(status=status)
        assert lifecycle.prove(line=bobs, code=code, at=LATER).is_live
        alices.refresh_from_db()
        assert alices.status == LineStatus.TERMINATED

    def test_takes_the_card_along_where_that_went_with_the_number(self):
        alices, bobs, code = claimed_by_bob(iccid=ICCID)
        assert lifecycle.prove(line=bobs, code=code, at=LATER).iccid == ICCID
        alices.refresh_from_db()
        assert not alices.is_live

    def test_can_be_followed_by_another_of_whoever_was_there_before(self):
        _old, bobs, code = claimed_by_bob()
        lifecycle.prove(line=bobs, code=code, at=LATER)
        again = add(at=LATER)
        code = lifecycle.request_proof(line=again, at=LATER + MINUTE).code
        assert lifecycle.prove(line=again, code=code, at=LATER + MINUTE).is_live
        bobs.refresh_from_db()
        assert bobs.status == LineStatus.TERMINATED

    def test_gives_nothing_of_theirs_to_the_new_owner(self):
        alices, bobs, code = claimed_by_bob()
        Line.objects.filter(pk=alices.pk).update(balance_minor=1860, label="妈妈")
        lifecycle.prove(line=bobs, code=code, at=LATER)
        bobs.refresh_from_db()
        assert (bobs.balance_minor, bobs.label, bobs.valid_until) == (None, "", None)


class TestNothingEnds:
    def test_by_a_code_that_was_sent_before_the_others_proof(self):
        bobs = add(world.person("bob"), iccid=OTHER_ICCID)
        code = lifecycle.request_proof(line=bobs, at=NOON - MINUTE).code
        alices = proven()
        refusal = taken(bobs, code, at=NOON + MINUTE, gave_way=pytest.fail)
        with translation.override("en"):
            assert str(refusal.sentence) == (
                "Someone else verified this number after your code was sent. Ask for a new code."
            )
        alices.refresh_from_db()
        assert alices.is_live
        fresh = lifecycle.request_proof(line=bobs, at=NOON + 2 * MINUTE).code
        assert lifecycle.prove(line=bobs, code=fresh, at=NOON + 2 * MINUTE).is_live

    def test_by_a_wrong_code(self):
        alices, bobs, code = claimed_by_bob()
        wrong = f"{(int(code) + 1) % 10**6:06d}"
        with pytest.raises(lifecycle.WrongCode):
            lifecycle.prove(line=bobs, code=wrong, at=LATER, gave_way=pytest.fail)
        alices.refresh_from_db()
        assert alices.is_live

    def test_where_the_card_is_a_third_ones(self):
        carols = proven(world.person("carol"), msisdn=OTHER_NUMBER, iccid=OTHER_ICCID)
        alices = proven()
        bobs = world.line(
            world.person("bob"), msisdn=E164, iccid=OTHER_ICCID, status="unverified",
            verified_at=None,
        )  # fmt: skip
        code = lifecycle.request_proof(line=bobs, at=LATER).code
        assert taken(bobs, code).field == "iccid"
        for line in (alices, carols):
            line.refresh_from_db()
            assert line.is_live

    def test_of_ones_own(self):
        alices = proven()
        twin = world.line(alices.owner, msisdn=E164, status="unverified", verified_at=None)
        code = lifecycle.request_proof(line=twin, at=LATER).code
        assert taken(twin, code, gave_way=pytest.fail).field == "msisdn"
        alices.refresh_from_db()
        assert alices.is_live


@pytest.mark.django_db(transaction=True)
class TestARace:
    def test_of_two_for_a_third_ones_number_has_one_winner(self):
        alices = proven()
        lines = [add(world.person(name), iccid=OTHER_ICCID) for name in ("bob", "carol")]
        codes = [lifecycle.request_proof(line=line, at=LATER).code for line in lines]

        results = race(
            *(
                lambda line=line, code=code: lifecycle.prove(line=line, code=code, at=LATER)
                for line, code in zip(lines, codes, strict=True)
            )
        )

        assert sum(isinstance(one, lifecycle.NumberTaken) for one in results) == 1
        alices.refresh_from_db()
        assert alices.status == LineStatus.TERMINATED
        assert Line.objects.filter(msisdn=E164, status=LineStatus.ACTIVE).count() == 1
