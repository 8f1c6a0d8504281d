"""Identifiers: what is read, what is refused and in which words, and what is never shown."""

from itertools import product
from urllib.parse import quote

import phonenumbers
import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from lines import identifiers, references, typed
from lines.identifiers import ActivationCode, Iccid, InvalidIdentifier
from tests.every import failing

pytestmark = pytest.mark.usefixtures("in_english")


GOOD_ICCIDS = ["8944538532008160222", "8997212330099025334"]
GOOD_EID = "89049032123451234512345678901235"
MATCHING_ID = "04386-AGYFT-A74Y8-3F815"


def sentence_for(parse, text: str) -> str:
    with translation.override("en"), pytest.raises(InvalidIdentifier) as refusal:
        parse(text)
    assert refusal.value.sentence is refusal.value.args[0]
    return str(refusal.value)


class TestTyped:
    @pytest.mark.parametrize(
        ("text", "plain"),
        [
            ("１３８－００００", "138-0000"),
            ("\u202d138\u00a00000\u202c\ufeff", "138 0000"),
            ("￥５０．００", "¥50.00"),
            ("\u30001\u30002\t3\n", "1 2 3"),
            ("−5 – 6", "-5 - 6"),
            ("٥²", "٥²"),
            ("", ""),
        ],
    )
    def test_is_folded_to_plain_characters(self, text, plain):
        assert typed.plain(text) == plain


class TestMsisdn:
    @pytest.mark.parametrize(
        "text",
        [
            *("13800000021", "138 0000 0021", "138-0000-0021", " 13800000021\n", "(138) 0000.0021"),
            *("+8613800000021", "+86 138 0000 0021", "+86-138-0000-0021", "(+86) 13800000021"),
            *("008613800000021", "0086 138 0000 0021", "8613800000021", "86-13800000021"),
            *(
                "１３８００００００２１",
                "＋８６１３８００００００２１",
                "\u202d+8613800000021\u202c",
            ),
        ],
    )
    def test_is_the_same_however_it_is_written(self, text):
        assert identifiers.parse_msisdn(text) == "+8613800000021"

    @pytest.mark.parametrize(
        ("text", "region", "msisdn"),
        [
            ("+44 7400 123456", "CN", "+447400123456"),
            ("0044 7400 123456", "CN", "+447400123456"),
            ("07400 123456", "GB", "+447400123456"),
            ("+852 5123 4567", "CN", "+85251234567"),
            ("+1 201 555 0123", "CN", "+12015550123"),
            ("+8613800000021", "GB", "+8613800000021"),
        ],
    )
    def test_abroad_needs_its_country(self, text, region, msisdn):
        assert identifiers.parse_msisdn(text, region=region) == msisdn

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("", "Enter the mobile number."),
            (" - ", "Enter the mobile number."),
            (
                "1-800-FLOWERS",
                "Write the number in figures only, with + and the country code if it is abroad.",
            ),
            (
                "13800000021;ext=5",
                "Write the number in figures only, with + and the country code if it is abroad.",
            ),
            (
                "+86+13800000021",
                "Write the number in figures only, with + and the country code if it is abroad.",
            ),
            (
                "1380000002",
                "No such number. Check each digit; a number abroad starts with + and its country.",
            ),
            (
                "138000000211",
                "No such number. Check each digit; a number abroad starts with + and its country.",
            ),
            (
                "+9991234567",
                "No such number. Check each digit; a number abroad starts with + and its country.",
            ),
            # The library would call this 13800000021 behind a dialling prefix.
            (
                "1255513800000021",
                "No such number. Check each digit; a number abroad starts with + and its country.",
            ),
            ("010-12345678", "This is not a mobile number. Enter the number of the line."),
            ("1" * 301, "This is too long. Enter only the number or the code itself."),
        ],
    )
    def test_that_is_none_is_refused_in_words_that_help(self, text, sentence):
        assert sentence_for(identifiers.parse_msisdn, text) == sentence

    @pytest.mark.parametrize(
        ("msisdn", "masked"),
        [
            ("+8613800000021", "138 **** 0021"),
            ("+447400121234", "+44 **** 1234"),
            ("+85251234567", "+852 **** 4567"),
            ("+861012345678", "+86 **** 5678"),
            ("+29051234", "+290 **** 34"),
            ("13800000021", "****"),
            ("nonsense", "****"),
            ("", ""),
        ],
    )
    def test_is_masked(self, msisdn, masked):
        assert identifiers.mask_msisdn(msisdn) == masked

    @pytest.mark.parametrize(
        ("link", "msisdn"),
        [
            ("tel:+86-138-0000-0021", "+8613800000021"),
            ("TEL:13800000021", "+8613800000021"),
            ("tel:%2B8613800000021", "+8613800000021"),
            ("tel:5123-4567;phone-context=+852", "+85251234567"),
            ("tel:+447400123456;phone-context=example.com", "+447400123456"),
        ],
    )
    def test_is_read_from_a_link_that_calls_it(self, link, msisdn):
        assert identifiers.parse_msisdn(link) == msisdn

    def test_of_an_extension_is_refused(self):
        for link in ("tel:+8613800000021;ext=5", "tel:+8613800000021;isub=5"):
            assert sentence_for(identifiers.parse_msisdn, link).startswith("Write the number in")

    @pytest.mark.parametrize(
        ("text", "msisdn"),
        [
            ("14911030512", "+8614911030512"),
            ("+86 144 1234 5678", "+8614412345678"),
            ("1440012345678", "+861440012345678"),
            ("861440012345678", "+861440012345678"),
            ("10648 1234 5678", "+861064812345678"),
            ("+33 700 12 34 56", "+33700123456"),
        ],
    )
    def test_that_the_library_does_not_know_is_taken_with_a_warning(self, text, msisdn):
        assert identifiers.parse_msisdn(text) == msisdn
        warning = "This number is of a kind we do not know. Check each digit of it."
        is_known = phonenumbers.is_valid_number(phonenumbers.parse(msisdn))
        assert identifiers.msisdn_warning(msisdn) == (None if is_known else warning)

    def test_that_the_library_knows_earns_no_warning(self):
        assert identifiers.msisdn_warning("+8613800000021") is None
        assert identifiers.msisdn_warning("") is None

    @pytest.mark.parametrize(
        "text", ["10012345678", "12012345678", "1380000002100", "14400123456789", "+999149110305"]
    )
    def test_without_even_the_shape_of_one_is_refused(self, text):
        assert sentence_for(identifiers.parse_msisdn, text).startswith("No such number.")


DAMAGED = "A spreadsheet has changed this number. Copy it from its source, as text."


class TestWhatASpreadsheetDid:
    @pytest.mark.parametrize(
        ("parse", "text"),
        [
            (identifiers.parse_msisdn, "+491511234567.0"),
            (identifiers.parse_msisdn, "13800000021.00"),
            (identifiers.parse_msisdn, "13800000021,0"),
            (identifiers.parse_msisdn, "1.38E+10"),
            (identifiers.parse_msisdn, "tel:13800000021.0"),
            (identifiers.parse_iccid, "8.94454E+18"),
            (identifiers.parse_iccid, "8944538532008160222.0"),
            (identifiers.parse_iccid, "8944538532008160000"),
            (identifiers.parse_iccid, "89860012345678900000"),
            (identifiers.parse_eid, "8.90490321234512E+31"),
            (identifiers.parse_eid, "89049032123451200000000000000000"),
            (identifiers.parse_imsi, "460001234567890.0"),
        ],
    )
    def test_to_a_number_is_refused_and_said(self, parse, text):
        assert sentence_for(parse, text) == DAMAGED

    def test_is_not_suspected_of_points_between_figures(self):
        assert identifiers.parse_msisdn("138.0000.0000") == "+8613800000000"
        assert identifiers.parse_matching_id("4E10") == "4E10"


class TestIccid:
    @pytest.mark.parametrize("value", GOOD_ICCIDS)
    def test_with_a_good_check_digit_is_read(self, value):
        assert identifiers.parse_iccid(value) == Iccid(value, None)

    @pytest.mark.parametrize(
        "text",
        [
            *("8944 5385 3200 8160 222", "8944-5385-3200-8160-222", "8944538532008160222F"),
            *("8944538532008160222f", "８９４４５３８５３２００８１６０２２２"),
        ],
    )
    def test_loses_spaces_and_filler(self, text):
        assert identifiers.parse_iccid(text).value == GOOD_ICCIDS[0]

    def test_may_have_18_or_20_digits(self):
        assert identifiers.parse_iccid("894453853200816023FF").value == "894453853200816023"
        assert identifiers.parse_iccid("89860012345678901238").warning is None

    def test_loses_a_filler_that_leads(self):
        for text in ("F8944538532008160222", "ff894453853200816023"):
            assert identifiers.parse_iccid(text).warning is None

    def test_printed_without_its_check_digit_is_asked_about(self):
        card = identifiers.parse_iccid(GOOD_ICCIDS[0][:-1])

        assert card == Iccid(
            "894453853200816022", "This ICCID seems to lack its last digit. Look at the card."
        )

    def test_with_any_one_digit_wrong_is_refused(self):
        def check(value, place, off_by):
            slipped = value[:place] + str((int(value[place]) + off_by) % 10) + value[place + 1 :]

            assert sentence_for(identifiers.parse_iccid, slipped) == (
                "The check digit of this ICCID is wrong. Compare it with the card, digit by digit."
            )

        assert failing(check, product(GOOD_ICCIDS, range(4, 19), range(1, 10))) == {}

    @pytest.mark.parametrize(
        "value", ["89860012345678901234", "8986031234567890123", "898600D2345678901234"]
    )
    def test_of_a_mainland_card_may_differ_with_a_warning(self, value):
        with translation.override("en"):
            card = identifiers.parse_iccid(value)

        assert card == Iccid(
            value,
            "The check digit of this ICCID cannot be verified. Compare it with the card.",
        )

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("", "Enter the ICCID printed on the card."),
            ("F", "Enter the ICCID printed on the card."),
            (
                "13800000021",
                "An ICCID starts with 89. Copy the long number printed on the card.",
            ),
            (
                "8944538532008160222;",
                "An ICCID starts with 89. Copy the long number printed on the card.",
            ),
            (
                "89445385320081602",
                "An ICCID has 18 to 20 digits, this has 17. Copy all of them.",
            ),
            (
                "898600123456789012345",
                "An ICCID has 18 to 20 digits, this has 21. Copy all of them.",
            ),
            (
                "89445385320081602FFF",
                "This ICCID may hold figures only. Compare it with the card.",
            ),
            (
                "8944538532008160A22",
                "This ICCID may hold figures only. Compare it with the card.",
            ),
        ],
    )
    def test_that_is_none_is_refused_in_words_that_help(self, text, sentence):
        assert sentence_for(identifiers.parse_iccid, text) == sentence

    def test_is_masked(self):
        assert identifiers.mask_iccid("8944538532008160222") == "8944 **** 0222"
        assert identifiers.mask_iccid("89445385320") == "****"
        assert identifiers.mask_iccid("") == ""


class TestEid:
    @pytest.mark.parametrize("text", [GOOD_EID, "8904 9032 1234 5123 4512 3456 7890 1235"])
    def test_leaves_1_by_97(self, text):
        assert identifiers.parse_eid(text) == GOOD_EID

    @pytest.mark.parametrize("ending", "012346789")
    def test_that_leaves_anything_else_is_refused(self, ending):
        assert sentence_for(identifiers.parse_eid, GOOD_EID[:-1] + ending) == (
            "The check digits of this EID are wrong. Compare it with the phone's settings."
        )

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            (GOOD_EID[:-1], "An EID has 32 digits, this has 31. Copy all of them."),
            (GOOD_EID + "0", "An EID has 32 digits, this has 33. Copy all of them."),
            (
                "+" + GOOD_EID[:-1],
                "An EID holds figures only. Copy it from the phone's settings.",
            ),
            (
                GOOD_EID[:-1] + "٥",
                "An EID holds figures only. Copy it from the phone's settings.",
            ),
            ("", "Enter the EID shown in the phone's settings."),
        ],
    )
    def test_that_is_none_is_refused_in_words_that_help(self, text, sentence):
        assert sentence_for(identifiers.parse_eid, text) == sentence

    def test_is_masked(self):
        assert identifiers.mask_eid(GOOD_EID) == "8904 **** 1235"


class TestImsi:
    @pytest.mark.parametrize("text", ["460001234567890", "46000 1234567890", "46000123456789"])
    def test_of_at_most_15_digits_is_read(self, text):
        assert identifiers.parse_imsi(text) == text.replace(" ", "")

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("", "Enter the IMSI."),
            ("4600012345678901", "An IMSI has at most 15 digits, this has 16."),
            ("46000", "This IMSI is too short. Copy all of its digits."),
            ("46000A234567890", "An IMSI holds figures only."),
        ],
    )
    def test_that_is_none_is_refused_in_words_that_help(self, text, sentence):
        assert sentence_for(identifiers.parse_imsi, text) == sentence

    def test_is_masked(self):
        assert identifiers.mask_imsi("460001234567890") == "4600 **** 7890"


CODES = st.builds(
    ActivationCode,
    smdp_address=st.just("smdp.example.com"),
    matching_id=st.from_regex(r"[A-Za-z0-9-]{0,40}", fullmatch=True),
    oid=st.sampled_from(["", "1.3.6.1.4.1.31746"]),
    needs_confirmation_code=st.booleans(),
    ci_key=st.sampled_from(["", "81370F5125D0B1D408D4C3B232E6D25E795BEBFB"]),
    tells_device_change=st.booleans(),
)


class TestActivationCode:
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            (
                f"LPA:1$smdp.example.com${MATCHING_ID}",
                ActivationCode("smdp.example.com", MATCHING_ID, "", False),
            ),
            (
                f"1$smdp.example.com${MATCHING_ID}",
                ActivationCode("smdp.example.com", MATCHING_ID, "", False),
            ),
            ("1$smdp.example.com$", ActivationCode("smdp.example.com", "", "", False)),
            (
                f"LPA:1$smdp.example.com${MATCHING_ID}$1.3.6.1.4.1.31746",
                ActivationCode("smdp.example.com", MATCHING_ID, "1.3.6.1.4.1.31746", False),
            ),
            (
                f"LPA:1$smdp.example.com${MATCHING_ID}$1.3.6.1.4.1.31746$1",
                ActivationCode("smdp.example.com", MATCHING_ID, "1.3.6.1.4.1.31746", True),
            ),
            (
                f"LPA:1$smdp.example.com${MATCHING_ID}$$1",
                ActivationCode("smdp.example.com", MATCHING_ID, "", True),
            ),
        ],
    )
    def test_is_read_and_written_back(self, text, code):
        assert identifiers.parse_activation_code(text) == code
        assert code.qr_text == f"LPA:{text.removeprefix('LPA:')}"
        assert code.text == text.removeprefix("LPA:")

    @pytest.mark.parametrize(
        "text",
        [
            f"lpa:1$SMDP.Example.COM${MATCHING_ID}$",
            f" LPA:1$smdp.example.com$\n{MATCHING_ID} ",
            f"ＬＰＡ：１＄smdp.example.com＄{MATCHING_ID}",
        ],
    )
    def test_pasted_untidily_is_the_same_code(self, text):
        code = identifiers.parse_activation_code(text)

        assert code.qr_text == f"LPA:1$smdp.example.com${MATCHING_ID}"

    SHAPE = "An activation code looks like LPA:1$server$code. Paste the whole of it."
    SERVER = "The SM-DP+ address must be a server's name, such as smdp.example.com."
    MATCHING = "A matching ID holds letters, figures and hyphens only."
    OID = "The server's OID in this activation code is wrong. Paste it again, unchanged."
    END = "The end of this activation code is not understood. Paste it again, unchanged."

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("", "Paste the activation code, or scan its QR code."),
            ("LPA:", SHAPE),
            ("hello", SHAPE),
            ("1$smdp.example.com", SHAPE),
            ("2$smdp.example.com$AB", SHAPE),
            ("$smdp.example.com$AB", SHAPE),
            ("LPA:LPA:1$smdp.example.com$AB", SHAPE),
            ("1$smdp.example.com$AB$1.2$1$0A$1$1", SHAPE),
            ("https://smdp.example.com/?carddata=hello", SHAPE),
            ("https://[smdp/?carddata=LPA:1$smdp.example.com$AB", SHAPE),
            ("1$$AB", SERVER),
            ("1$localhost$AB", SERVER),
            ("1$10.0.0.1$AB", SERVER),
            ("1$[::1]$AB", SERVER),
            ("1$smdp.example.com:443$AB", SERVER),
            ("1$https://smdp.example.com$AB", SERVER),
            ("1$user@smdp.example.com$AB", SERVER),
            ("1$smdp..com$AB", SERVER),
            ("1$-smdp.example.com$AB", SERVER),
            ("1$smdp-.example.com$AB", SERVER),
            ("1$smdp_1.example.com$AB", SERVER),
            ("1$smdp.example.com.$AB", SERVER),
            (f"1${'a' * 64}.example.com$AB", SERVER),
            (f"1${'abcdefg.' * 32}com$AB", SERVER),
            ("1$smdp.example.com$A_B", MATCHING),
            ("1$smdp.example.com$AB;drop", MATCHING),
            ("1$smdp.example.com$AB$oid", OID),
            ("1$smdp.example.com$AB$1", OID),
            ("1$smdp.example.com$AB$1.02", OID),
            ("1$smdp.example.com$AB$3.1", OID),
            ("1$smdp.example.com$AB$1.2$1$1", END),
            ("1$smdp.example.com$AB$1.2$1$0A$2", END),
            ("1$smdp.example.com$AB$1.2$0", END),
            (
                "1$smdp.example.com$AB" + "B" * 300,
                "This is too long. Enter only the number or the code itself.",
            ),
        ],
    )
    def test_that_is_none_is_refused_in_words_that_help(self, text, sentence):
        assert sentence_for(identifiers.parse_activation_code, text) == sentence

    def test_keeps_its_secret_out_of_its_own_repr(self):
        code = ActivationCode("smdp.example.com", MATCHING_ID)

        assert MATCHING_ID not in repr(code)
        assert "smdp.example.com" in repr(code)

    def test_is_masked_but_for_its_end(self):
        assert identifiers.mask_matching_id(MATCHING_ID) == "**** F815"
        assert identifiers.mask_matching_id("SHORT-ID-12") == "****"
        assert identifiers.mask_matching_id("") == ""

    @pytest.mark.parametrize("ending", ["", "$", "$$", "$$$$", "$1.3.6.1.4.1.31746$"])
    def test_loses_endings_that_say_nothing(self, ending):
        oid = ending.strip("$")
        code = identifiers.parse_activation_code(f"1$smdp.example.com${MATCHING_ID}{ending}")

        assert code == ActivationCode("smdp.example.com", MATCHING_ID, oid)
        assert not code.text.endswith("$")

    @pytest.mark.parametrize(
        "link",
        [
            "https://esimsetup.apple.com/esim_qrcode_provisioning?carddata={}",
            "https://esimsetup.android.com/esim_qrcode_provisioning?a=1&carddata={}",
            "HTTPS://shop.example/install?x={}&utm=mail#top",
        ],
    )
    def test_is_read_from_the_link_that_installs_it(self, link):
        carried = f"LPA:1$smdp.example.com${MATCHING_ID}$$1"
        wanted = ActivationCode("smdp.example.com", MATCHING_ID, "", True)

        for written in (carried, quote(carried, safe="")):
            assert identifiers.parse_activation_code(link.format(written)) == wanted

    @given(CODES)
    def test_survives_every_round_trip(self, code):
        assert identifiers.parse_activation_code(code.text) == code
        assert identifiers.parse_activation_code(code.qr_text) == code


PARSERS = st.sampled_from(
    [
        identifiers.parse_msisdn,
        identifiers.parse_iccid,
        identifiers.parse_eid,
        identifiers.parse_imsi,
        identifiers.parse_activation_code,
        identifiers.parse_smdp_address,
        identifiers.parse_matching_id,
    ]
)
HOSTILE = st.text(max_size=40) | st.text("0123456789+LPA:$.F- ", max_size=40)


class TestAnyText:
    @given(PARSERS, HOSTILE)
    def test_is_read_or_refused_without_being_repeated(self, parse, text):
        sentence = ""
        try:
            parse(text)
        except InvalidIdentifier as refusal:
            sentence = str(refusal)

        # Short texts are left out: "8" may stand in a sentence by itself.
        assert len(text.strip()) < 8 or text.strip() not in sentence

    @given(HOSTILE)
    def test_is_masked_without_an_error(self, text):
        masked = [
            identifiers.mask_msisdn(text),
            identifiers.mask_iccid(text),
            identifiers.mask_eid(text),
            identifiers.mask_imsi(text),
            identifiers.mask_matching_id(text),
        ]

        assert all(mask == "" if not text else "****" in mask for mask in masked)


class TestReferences:
    def test_are_26_characters_that_never_come_twice(self):
        made = [references.new_reference() for _ in range(1000)]

        assert len(set(made)) == 1000
        assert all(references.is_reference(reference) for reference in made)
        assert {len(reference) for reference in made} == {26}

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "01ARZ3NDEKTSV4RRFFQ69G5FA",
            "01ARZ3NDEKTSV4RRFFQ69G5FAVV",
            "01arz3ndektsv4rrffq69g5fav",
            "81ARZ3NDEKTSV4RRFFQ69G5FAV",
            "01ARZ3NDEKTSV4RRFFQ69G5FAU",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV\n",
        ],
    )
    def test_have_one_form(self, text):
        assert references.is_reference("01ARZ3NDEKTSV4RRFFQ69G5FAV")
        assert not references.is_reference(text)
