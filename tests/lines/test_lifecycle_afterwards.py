"""What becomes of a proven line: marked by its carrier, given another SIM, renamed, removed."""

import pytest

from lines import lifecycle
from lines.models import Line, LineStatus
from tests import world
from tests.lines.putting_in import (
    E164,
    ICCID,
    OTHER_ICCID,
    OTHER_NUMBER,
    add,
    add_esim,
    proven,
)
from tests.world import HOUR, NOON

pytestmark = pytest.mark.django_db


class TestMarking:
    def test_follows_the_carrier_there_and_back(self):
        line = proven()
        suspended = lifecycle.mark(line=line, status=LineStatus.SUSPENDED, at=NOON + HOUR)
        assert (suspended.status, suspended.poll_at) == (LineStatus.SUSPENDED, NOON)
        back = lifecycle.mark(line=line, status=LineStatus.ACTIVE, at=NOON + 2 * HOUR)
        assert (back.status, back.poll_at) == (LineStatus.ACTIVE, NOON + 2 * HOUR)

    @pytest.mark.parametrize("gone", [LineStatus.PORTED_OUT, LineStatus.TERMINATED])
    def test_stops_asking_about_a_line_that_is_gone_for_good(self, gone):
        line = lifecycle.mark(line=proven(), status=gone, at=NOON)
        assert (line.status, line.poll_at) == (gone, None)
        with pytest.raises(lifecycle.IllegalStatus):
            lifecycle.mark(line=line, status=LineStatus.ACTIVE, at=NOON)
        assert Line.objects.get().status == gone

    def test_never_stands_in_for_a_proof(self):
        line = add()
        with pytest.raises(lifecycle.IllegalStatus):
            lifecycle.mark(line=line, status=LineStatus.ACTIVE, at=NOON)
        assert Line.objects.get().status == LineStatus.UNVERIFIED

    @pytest.mark.parametrize("status", ["unverified", "removed"])
    def test_is_not_how_a_line_is_removed(self, status):
        with pytest.raises(lifecycle.IllegalStatus):
            lifecycle.mark(line=proven(), status=status, at=NOON)
        assert Line.objects.get().status == LineStatus.ACTIVE


class TestAnotherSim:
    def test_must_be_proven_and_ends_the_old_generation(self):
        line = proven()

        changed = lifecycle.replace_sim(line=line, iccid=OTHER_ICCID, at=NOON + HOUR)

        assert (changed.iccid, changed.sim_generation) == (OTHER_ICCID, 2)
        assert (changed.status, changed.poll_at) == (LineStatus.UNVERIFIED, None)
        code = lifecycle.request_proof(line=changed, at=NOON + HOUR).code
        assert lifecycle.prove(line=changed, code=code, at=NOON + HOUR).is_live

    def test_frees_the_number_for_whoever_holds_it_now(self):
        lifecycle.replace_sim(line=proven(), iccid=OTHER_ICCID, at=NOON)
        assert proven(world.person("bob")).is_live

    def test_that_is_the_same_changes_nothing(self):
        same = lifecycle.replace_sim(line=proven(), iccid=f"{ICCID}F", at=NOON)
        assert (same.sim_generation, same.status) == (1, LineStatus.ACTIVE)

    def test_cannot_be_a_strangers_card(self):
        proven(world.person("bob"), msisdn=OTHER_NUMBER, iccid=OTHER_ICCID)
        line = proven()
        with pytest.raises(lifecycle.NumberTaken) as refusal:
            lifecycle.replace_sim(line=line, iccid=OTHER_ICCID, at=NOON)
        assert refusal.value.field == "iccid"
        line.refresh_from_db()
        assert (line.iccid, line.sim_generation, line.status) == (ICCID, 1, LineStatus.ACTIVE)

    @pytest.mark.parametrize("status", ["ported_out", "terminated", "removed"])
    def test_is_not_given_to_a_line_that_is_gone(self, status):
        line = proven()
        Line.objects.update(status=status)
        with pytest.raises(lifecycle.IllegalStatus):
            lifecycle.replace_sim(line=line, iccid=OTHER_ICCID, at=NOON)
        line.refresh_from_db()
        assert (line.iccid, line.sim_generation, line.status) == (ICCID, 1, status)

    def test_ends_the_esims_old_activation_code(self):
        line = add_esim()
        lifecycle.replace_sim(line=line, iccid=OTHER_ICCID, at=NOON)
        with pytest.raises(lifecycle.NoActivationCode):
            lifecycle.activation_code(line=line, actor=line.owner)


class TestRenamingAndRemoving:
    def test_renames(self):
        lifecycle.rename(line=add(), label="爸爸", at=NOON)
        assert Line.objects.get().label == "爸爸"

    def test_refuses_a_name_too_long_and_keeps_the_old_one(self):
        line = add(label="妈妈")
        with pytest.raises(lifecycle.WrongField):
            lifecycle.rename(line=line, label="x" * 41, at=NOON)
        assert Line.objects.get().label == "妈妈"

    def test_drops_what_cannot_be_printed(self):
        lifecycle.rename(line=add(), label="a\x00b\u202ec\td", at=NOON)
        assert Line.objects.get().label == "abc d"

    def test_removes_softly_and_twice(self):
        line = proven()
        lifecycle.remove(line=line, at=NOON)
        lifecycle.remove(line=line, at=NOON)
        line.refresh_from_db()
        assert (line.status, line.poll_at) == (LineStatus.REMOVED, None)
        assert line.msisdn == E164
