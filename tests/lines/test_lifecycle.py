"""A line's life: put in, proven, marked, another SIM, removed. Alice owns; Bob is a stranger."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import translation

from lines import lifecycle
from lines.carriers.base import Balance, BalanceAnswer, Exchange, LineAddress, NotFound, Unknown
from lines.models import CarrierCall, EsimProfile, Line, LineProof, LineStatus
from tests import world
from tests.lines.putting_in import (
    E164,
    EID,
    ICCID,
    LPA,
    NUMBER,
    OTHER_ICCID,
    OTHER_NUMBER,
    add,
    add_data_only,
    add_esim,
    proven,
)
from tests.race import race
from tests.world import HOUR, MINUTE, NOON

SECOND = timedelta(seconds=1)


class FakeCarriers:
    """One carrier for every row; it keeps the texts it sent and knows the cards it is given."""

    def __init__(self, *, takes_texts=True, answer=None):
        self.takes_texts, self.answer = takes_texts, answer
        self.texts, self.asked = [], []

    def adapter_for(self, carrier):
        return self

    def send_code(self, *, address, text):
        self.texts.append((address.resource, text))
        return self.takes_texts

    def balance(self, *, address):
        self.asked.append(address)
        return BalanceAnswer(self.answer, (Exchange("GET /bucket", "", "masked", "masked"),))


BALANCE = Balance(1860, "CNY", NOON, None, "active")


def wrong(code):
    return f"{(int(code) + 1) % 1_000_000:06d}"


@pytest.mark.django_db
class TestAddingACard:
    def test_writes_one_unverified_line_in_canonical_form(self):
        alice = world.person()

        line = add(alice, label="  妈妈的\n手机 ", iccid="8944 5385 3200 8160 222F")

        line.refresh_from_db()
        assert (line.msisdn, line.iccid, line.kind) == (E164, ICCID, "fm")
        assert (line.label, line.currency, line.status) == ("妈妈的 手机", "CNY", "unverified")
        assert (line.owner, line.created_at, line.verified_at) == (alice, NOON, None)
        assert line.poll_at is None

    @pytest.mark.parametrize(
        ("field", "typed", "sentence"),
        [
            ("msisdn", "1380013800", "No such number"),
            ("msisdn", "", "Enter the mobile number."),
            ("iccid", "8944538532008160223", "The check digit of this ICCID is wrong"),
            ("iccid", "", "Enter the ICCID"),
            ("label", "长" * 41, "A name has at most 40 characters, this has 41."),
            ("timezone", "Mars/Olympus", "There is no such time zone"),
            ("timezone", "../../etc/passwd", "There is no such time zone"),
        ],
    )
    def test_refuses_what_is_wrong_at_its_field_and_writes_nothing(self, field, typed, sentence):
        with pytest.raises(lifecycle.WrongField) as refusal:
            add(**{field: typed})

        assert refusal.value.field == field
        with translation.override("en"):
            assert str(refusal.value.sentence).startswith(sentence)
        assert not Line.objects.exists()

    def test_never_repeats_a_number_in_its_errors(self):
        with pytest.raises(lifecycle.WrongField) as refusal:
            add(msisdn="+861380013800012345")
        assert "138" not in f"{refusal.value} {refusal.value.__cause__}"

    def test_refuses_a_carrier_that_is_switched_off(self):
        alice, off = world.person(), world.carrier("off", is_enabled=False)
        with pytest.raises(lifecycle.WrongField) as refusal:
            lifecycle.add_fm(
                owner=alice,
                carrier=off,
                msisdn=NUMBER,
                iccid=ICCID,
                timezone="Asia/Shanghai",
                at=NOON,
            )
        assert refusal.value.field == "carrier"
        assert not Line.objects.exists()

    def test_again_replaces_the_owners_unproven_try(self):
        first, second = add(), add()

        assert Line.objects.get(pk=first.pk).status == LineStatus.REMOVED
        assert Line.objects.get(pk=second.pk).status == LineStatus.UNVERIFIED

    def test_leaves_a_strangers_unproven_try_alone(self):
        bobs = add(world.person("bob"))
        add()
        assert Line.objects.get(pk=bobs.pk).status == LineStatus.UNVERIFIED

    def test_takes_a_number_another_owner_has_proven_for_a_code_to_decide(self):
        bobs = proven(world.person("bob"))
        for iccid in (OTHER_ICCID, ICCID):  # the card may have gone with the number
            assert add(iccid=iccid).status == LineStatus.UNVERIFIED
        bobs.refresh_from_db()
        assert bobs.is_live

    def test_refuses_a_card_another_owner_has_proven(self):
        proven(world.person("bob"))
        with pytest.raises(lifecycle.NumberTaken) as refusal:
            add(msisdn=OTHER_NUMBER)
        assert refusal.value.field == "iccid"
        assert Line.objects.count() == 1

    def test_says_so_when_the_number_is_the_owners_own(self):
        proven()
        with pytest.raises(lifecycle.NumberTaken) as refusal:
            add()
        with translation.override("en"):
            assert str(refusal.value.sentence) == "This is among your lines already."

    def test_takes_a_number_whose_line_was_removed(self):
        bobs = proven(world.person("bob"))
        lifecycle.remove(line=bobs, at=NOON)
        assert add().status == LineStatus.UNVERIFIED


@pytest.mark.django_db
class TestAddingAnEsim:
    def test_keeps_the_profile_and_seals_its_matching_id(self):
        line = add_esim(eid=EID)

        profile = EsimProfile.objects.get(line=line)
        assert profile.smdp_address == "smdp.example.com"
        assert profile.matching_id == "K2-1F8-ABCD"
        assert (profile.eid, profile.state) == (EID, "available")
        with connection.cursor() as cursor:
            cursor.execute("SELECT matching_id FROM lines_esimprofile")
            assert "K2-1F8" not in cursor.fetchone()[0]

    def test_takes_the_parts_in_place_of_the_code(self):
        line = add_esim(
            activation_code="", smdp_address="SMDP.example.com", matching_id="K2-1F8-ABCD"
        )
        assert line.esim.smdp_address == "smdp.example.com"
        assert line.esim.matching_id == "K2-1F8-ABCD"

    def test_keeps_what_only_the_whole_code_says(self):
        line = add_esim(
            activation_code="1$smdp.example.com$K2$1.3.6.1$1",
            smdp_address="smdp.example.com",
            matching_id="K2",
        )
        assert (line.esim.oid, line.esim.needs_confirmation_code) == ("1.3.6.1", True)

    @pytest.mark.parametrize(
        ("field", "typed"),
        [
            ("activation_code", {"activation_code": "LPA:1"}),
            ("activation_code", {"activation_code": ""}),
            ("activation_code", {"smdp_address": "other.example.com", "matching_id": "K2"}),
            ("activation_code", {"activation_code": f"1$smdp.example.com$K2$1{'.1' * 40}"}),
            ("smdp_address", {"activation_code": "", "matching_id": "K2"}),
            ("matching_id", {"activation_code": "", "smdp_address": "a.cn", "matching_id": "K 2!"}),
            ("eid", {"activation_code": "1$smdp.example.com$"}),
            ("eid", {"eid": EID[:-1] + "4"}),
            ("msisdn", {"msisdn": "1380013800"}),
            ("iccid", {"msisdn": "", "iccid": ""}),
        ],
    )
    def test_refuses_what_is_wrong_at_its_field_and_writes_nothing(self, field, typed):
        with pytest.raises(lifecycle.WrongField) as refusal:
            add_esim(**typed)
        assert refusal.value.field == field
        assert not Line.objects.exists()
        assert not EsimProfile.objects.exists()

    def test_shows_the_activation_code_to_its_owner_alone(self):
        line = add_esim()
        staff = world.person("staff", is_staff=True)

        code = lifecycle.activation_code(line=line, actor=line.owner)

        assert code.qr_text == LPA
        assert code.text == "1$smdp.example.com$K2-1F8-ABCD"
        for stranger in (world.person("bob"), staff):
            with pytest.raises(lifecycle.NotYours):
                lifecycle.activation_code(line=line, actor=stranger)

    def test_has_no_activation_code_for_a_card(self):
        line = add()
        with pytest.raises(lifecycle.NoActivationCode):
            lifecycle.activation_code(line=line, actor=line.owner)


@pytest.mark.django_db
class TestACode:
    def test_makes_the_line_live(self):
        line = add()
        request = lifecycle.request_proof(line=line, at=NOON)

        live = lifecycle.prove(line=line, code=f" {request.code} ", at=NOON + 9 * MINUTE)

        assert (live.status, live.verified_at) == (LineStatus.ACTIVE, NOON + 9 * MINUTE)
        assert live.poll_at == NOON + 9 * MINUTE
        assert LineProof.objects.get().used_at == NOON + 9 * MINUTE

    def test_may_be_typed_in_full_width_figures(self):
        line = add()
        code = lifecycle.request_proof(line=line, at=NOON).code
        wide = code.translate({ord(d): 0xFF10 + int(d) for d in "0123456789"})
        assert lifecycle.prove(line=line, code=wide, at=NOON).is_live

    def test_is_six_figures_and_kept_as_a_hash_only(self):
        request = lifecycle.request_proof(line=add(), at=NOON)
        assert len(request.code) == 6
        assert request.code.isdecimal()
        assert request.code not in request.proof.code_hash
        assert len(request.proof.code_hash) == 64
        assert request.code not in repr(request)

    def test_is_hashed_with_the_secret_key(self, settings):
        line = add()
        request = lifecycle.request_proof(line=line, at=NOON)
        settings.SECRET_KEY = "another"
        with pytest.raises(lifecycle.WrongCode):
            lifecycle.prove(line=line, code=request.code, at=NOON)

    def test_holds_for_ten_minutes_and_no_longer(self):
        line = add()
        code = lifecycle.request_proof(line=line, at=NOON).code
        with pytest.raises(lifecycle.CodeExpired):
            lifecycle.prove(line=line, code=code, at=NOON + 10 * MINUTE)
        assert Line.objects.get(pk=line.pk).status == LineStatus.UNVERIFIED
        assert lifecycle.prove(line=line, code=code, at=NOON + 10 * MINUTE - SECOND).is_live

    def test_allows_five_tries_and_then_not_even_the_right_one(self):
        line = add()
        code = lifecycle.request_proof(line=line, at=NOON).code
        left = []
        for _ in range(5):
            with pytest.raises(lifecycle.WrongCode) as refusal:
                lifecycle.prove(line=line, code=wrong(code), at=NOON)
            left.append(refusal.value.tries_left)
        assert left == [4, 3, 2, 1, 0]
        with pytest.raises(lifecycle.CodeExpired):
            lifecycle.prove(line=line, code=code, at=NOON)
        assert Line.objects.get(pk=line.pk).status == LineStatus.UNVERIFIED

    @pytest.mark.parametrize("typed", ["", "12345", "１２３", "x" * 1000, "\x00\x00", "１２٣٤٥٦"])
    def test_is_not_guessed_by_rubbish(self, typed):
        line = add()
        lifecycle.request_proof(line=line, at=NOON)
        with pytest.raises(lifecycle.WrongCode):
            lifecycle.prove(line=line, code=typed, at=NOON)

    def test_ends_when_the_next_one_is_sent(self):
        line = add()
        first = lifecycle.request_proof(line=line, at=NOON).code
        second = lifecycle.request_proof(line=line, at=NOON + MINUTE).code
        if first != second:
            with pytest.raises(lifecycle.WrongCode):
                lifecycle.prove(line=line, code=first, at=NOON + MINUTE)
        assert lifecycle.prove(line=line, code=second, at=NOON + MINUTE).is_live

    def test_of_another_line_proves_nothing(self):
        line, other = add(), add(world.person("bob"), msisdn=OTHER_NUMBER, iccid=OTHER_ICCID)
        code = lifecycle.request_proof(line=other, at=NOON).code
        with pytest.raises(lifecycle.CodeExpired):
            lifecycle.prove(line=line, code=code, at=NOON)

    def test_proves_a_live_line_no_second_time(self):
        line = proven()
        again = lifecycle.prove(line=line, code="000000", at=NOON + HOUR)
        assert again.verified_at == NOON

    def test_cannot_bring_back_a_removed_line(self):
        line = add()
        code = lifecycle.request_proof(line=line, at=NOON).code
        lifecycle.remove(line=line, at=NOON)
        with pytest.raises(lifecycle.NotProvable):
            lifecycle.prove(line=line, code=code, at=NOON)
        assert Line.objects.get().status == LineStatus.REMOVED

    def test_comes_too_late_for_a_number_proven_by_another(self):
        line, bobs = add(), add(world.person("bob"), iccid=OTHER_ICCID)
        mine = lifecycle.request_proof(line=line, at=NOON).code
        his = lifecycle.request_proof(line=bobs, at=NOON).code
        lifecycle.prove(line=bobs, code=his, at=NOON)

        with pytest.raises(lifecycle.NumberTaken) as refusal:
            lifecycle.prove(line=line, code=mine, at=NOON)

        assert refusal.value.field == "msisdn"
        assert refusal.value.__context__ is None  # the database's own words name the number
        line.refresh_from_db()
        assert (line.status, line.verified_at) == (LineStatus.UNVERIFIED, None)
        assert line.proofs.get().used_at is None

    def test_names_the_card_where_that_is_what_is_taken(self):
        line = add()
        bobs = add(world.person("bob"), msisdn=OTHER_NUMBER)
        mine = lifecycle.request_proof(line=line, at=NOON).code
        lifecycle.prove(line=bobs, code=lifecycle.request_proof(line=bobs, at=NOON).code, at=NOON)
        with pytest.raises(lifecycle.NumberTaken) as refusal:
            lifecycle.prove(line=line, code=mine, at=NOON)
        assert refusal.value.field == "iccid"
        assert refusal.value.__suppress_context__  # nor are they told here


@pytest.mark.django_db
class TestAskingForCodes:
    def test_ends_at_three_within_an_hour(self):
        line = add()
        for minutes in (0, 10, 20):
            lifecycle.request_proof(line=line, at=NOON + minutes * MINUTE)

        with pytest.raises(lifecycle.TooManyCodes) as refusal:
            lifecycle.request_proof(line=line, at=NOON + HOUR - SECOND)

        assert refusal.value.next_at == NOON + HOUR
        assert LineProof.objects.count() == 3
        lifecycle.request_proof(line=line, at=NOON + HOUR)
        assert LineProof.objects.count() == 4

    def test_counts_a_number_whoever_claims_it_and_however_often(self):
        lifecycle.request_proof(line=add(), at=NOON)
        lifecycle.request_proof(line=add(), at=NOON)  # put in anew: the first is replaced
        lifecycle.request_proof(line=add(world.person("bob")), at=NOON)
        with pytest.raises(lifecycle.TooManyCodes):
            lifecycle.request_proof(line=add(world.person("charlie")), at=NOON)
        assert LineProof.objects.count() == 3

    def test_is_limited_for_one_person_with_many_numbers(self):
        for serial in range(10):
            lifecycle.request_proof(line=add(msisdn=f"1380013800{serial}"), at=NOON)
        with pytest.raises(lifecycle.TooManyCodes):
            lifecycle.request_proof(line=add(msisdn="13800138010"), at=NOON)
        bobs = add(world.person("bob"), msisdn="13800138010")
        assert lifecycle.request_proof(line=bobs, at=NOON).proof.line == bobs

    def test_is_refused_for_a_live_line(self):
        line = proven()
        with pytest.raises(lifecycle.NotProvable):
            lifecycle.request_proof(line=line, at=NOON)
        assert LineProof.objects.count() == 1

    def test_sends_it_in_the_owners_language(self):
        line = add(world.person(language="en"))
        carriers = FakeCarriers()

        assert lifecycle.send_proof(line=line, carriers=carriers, at=NOON) is True

        [(number, text)] = carriers.texts
        assert number == E164
        assert text.startswith("Keepline: ")
        code = text.removeprefix("Keepline: ")[:6]
        assert lifecycle.prove(line=line, code=code, at=NOON).is_live

    def test_says_when_the_carrier_did_not_take_the_text(self):
        carriers = FakeCarriers(takes_texts=False)
        assert lifecycle.send_proof(line=add(), carriers=carriers, at=NOON) is False
        assert len(carriers.texts) == 1

    def test_sends_nothing_past_the_limit(self):
        line, carriers = add(), FakeCarriers()
        for _ in range(3):
            lifecycle.send_proof(line=line, carriers=carriers, at=NOON)
        with pytest.raises(lifecycle.TooManyCodes):
            lifecycle.send_proof(line=line, carriers=carriers, at=NOON)
        assert len(carriers.texts) == 3


@pytest.mark.django_db
class TestADataOnlyEsim:
    def test_goes_live_when_the_carrier_knows_its_card(self):
        line, carriers = add_data_only(), FakeCarriers(answer=BALANCE)

        assert lifecycle.send_proof(line=line, carriers=carriers, at=NOON) is True

        line.refresh_from_db()
        assert (line.status, line.verified_at, line.poll_at) == (LineStatus.ACTIVE, NOON, NOON)
        assert carriers.asked == [LineAddress(msisdn="", iccid=ICCID)]
        assert carriers.texts == []
        assert CarrierCall.objects.get().kind == "GET /bucket"

    @pytest.mark.parametrize(
        ("answer", "refusal"),
        [
            (NotFound(), lifecycle.NotAtCarrier),
            (Unknown("timeout"), lifecycle.CarrierSilent),
        ],
    )
    def test_stays_unproven_otherwise_and_the_evidence_is_kept(self, answer, refusal):
        line, carriers = add_data_only(), FakeCarriers(answer=answer)
        with pytest.raises(refusal):
            lifecycle.prove_by_card(line=line, carriers=carriers, at=NOON)
        assert lifecycle.send_proof(line=line, carriers=carriers, at=NOON) is False
        line.refresh_from_db()
        assert (line.status, line.verified_at) == (LineStatus.UNVERIFIED, None)
        assert CarrierCall.objects.count() == 2

    def test_is_not_proven_without_its_activation_code(self):
        line = add_esim(activation_code="1$smdp.example.com$", eid=EID, msisdn="", iccid=ICCID)
        carriers = FakeCarriers(answer=BALANCE)
        with pytest.raises(lifecycle.NotProvable):
            lifecycle.prove_by_card(line=line, carriers=carriers, at=NOON)
        assert carriers.asked == []
        assert Line.objects.get().status == LineStatus.UNVERIFIED

    def test_with_a_number_is_proven_by_a_code_alone(self):
        carriers = FakeCarriers(answer=BALANCE)
        with pytest.raises(lifecycle.NotProvable):
            lifecycle.prove_by_card(line=add_esim(iccid=ICCID), carriers=carriers, at=NOON)
        assert carriers.asked == []

    def test_has_no_number_to_send_a_code_to(self):
        with pytest.raises(lifecycle.NotProvable):
            lifecycle.request_proof(line=add_data_only(), at=NOON)
        assert not LineProof.objects.exists()

    def test_is_live_for_one_owner_only(self):
        carriers = FakeCarriers(answer=BALANCE)
        alices, bobs = add_data_only(), add_data_only(world.person("bob"))
        lifecycle.prove_by_card(line=bobs, carriers=carriers, at=NOON)
        with pytest.raises(lifecycle.NumberTaken) as refusal:
            lifecycle.prove_by_card(line=alices, carriers=carriers, at=NOON)
        assert refusal.value.field == "iccid"
        assert Line.objects.get(pk=alices.pk).status == LineStatus.UNVERIFIED


@pytest.mark.django_db(transaction=True)
class TestARace:
    def test_for_one_number_has_one_winner(self):
        lines = [
            add(world.person(name), iccid=iccid)
            for name, iccid in (("alice", ICCID), ("bob", OTHER_ICCID))
        ]
        codes = [lifecycle.request_proof(line=line, at=NOON).code for line in lines]

        results = race(
            *(
                lambda line=line, code=code: lifecycle.prove(line=line, code=code, at=NOON)
                for line, code in zip(lines, codes, strict=True)
            )
        )

        losers = [result for result in results if isinstance(result, lifecycle.NumberTaken)]
        assert len(losers) == 1
        assert sorted(Line.objects.values_list("status", flat=True)) == ["active", "unverified"]
        assert LineProof.objects.filter(used_at__isnull=False).count() == 1

    def test_for_codes_sends_no_fourth(self):
        lines = [add(world.person(f"p{n}")) for n in range(8)]
        results = race(
            *(lambda line=line: lifecycle.request_proof(line=line, at=NOON) for line in lines)
        )
        refused = [one for one in results if isinstance(one, lifecycle.TooManyCodes)]
        assert len(refused) == 5
        assert LineProof.objects.count() == 3

    def test_of_wrong_tries_wins_no_sixth(self):
        line = add()
        code = lifecycle.request_proof(line=line, at=NOON).code
        results = race(*[lambda: lifecycle.prove(line=line, code=wrong(code), at=NOON)] * 8)
        left = [one.tries_left for one in results if isinstance(one, lifecycle.WrongCode)]
        assert sorted(left) == [0, 1, 2, 3, 4]
        assert sum(isinstance(one, lifecycle.CodeExpired) for one in results) == 3
        assert LineProof.objects.get().tries_left == 0

    def test_cannot_hide_a_wrong_try_in_a_transaction(self):
        line = add()
        lifecycle.request_proof(line=line, at=NOON)
        with pytest.raises(RuntimeError), transaction.atomic():
            lifecycle.prove(line=line, code="000000", at=NOON)
