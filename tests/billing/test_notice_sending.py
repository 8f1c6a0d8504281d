"""Notices are sent until it is certain, and no oftener."""

import smtplib
from functools import partial

import pytest
from django.core import mail

from billing.models import Notice, NoticeDelivery
from billing.notices import channels, pages, sending
from billing.notices.channels import CannotSend
from tests import world as w
from tests.billing.notices_world import deliveries, tell
from tests.billing.readers import teach_chinese
from tests.world import DAY, MINUTE, NOON


@pytest.fixture(autouse=True, scope="module")
def _chinese():
    teach_chinese()


@pytest.fixture
def post():
    """A channel in memory, registered as "post"; what it raises can be set."""

    class Post:
        raises: Exception | None = None

        def __init__(self):
            self.sent = []

        def send(self, *, message):
            if self.raises:
                raise self.raises
            self.sent.append(message)

    kept = dict(channels._CHANNELS)
    channel = Post()
    channels.register("post", channel)
    yield channel
    channels._CHANNELS.clear()
    channels._CHANNELS.update(kept)


@pytest.mark.django_db
class TestSending:
    def test_mails_the_words_in_the_readers_language(self):
        line = w.line(w.person(language="en"), label="Mum", msisdn="+8613800000021")
        tell(line_id=line.pk)

        assert sending.send_due(at=NOON, limit=10) == 1

        (message,) = mail.outbox
        assert message.to == ["alice@example.com"]
        assert message.subject == "¥50 recharged: Mum"
        assert message.body.startswith("¥49.25 was taken through Alipay, and ¥50 has arrived")
        assert message.extra_headers["Message-ID"] == f"<notice-{Notice.objects.get().pk}@keepline>"
        delivery = NoticeDelivery.objects.get()
        assert (delivery.state, delivery.tries, delivery.sent_at) == ("sent", 1, NOON)
        assert (delivery.act_at, delivery.lease_until, delivery.error) == (None, None, "")

    def test_says_where_to_see_more_and_how_to_have_fewer(self):
        line = w.line(w.person(language="en"), label="Mum")
        tell(line_id=line.pk)

        page_of = partial(pages.of_notice, public_url="https://keepline.example")
        sending.send_due(at=NOON, limit=10, page_of=page_of)

        (message,) = mail.outbox
        assert message.body.endswith(
            f"\n\nSee it here: https://keepline.example/lines/{line.public_id}/\n\n"
            "Which messages are mailed is set in the auto-recharge of each line.\n"
        )

    def test_sends_once(self):
        tell()
        sending.send_due(at=NOON, limit=10)

        assert sending.send_due(at=NOON + DAY, limit=10) == 0
        assert len(mail.outbox) == 1

    def test_sends_nothing_before_its_time_or_beyond_its_limit(self):
        for number in range(3):
            tell(occurrence_key=str(number))

        assert sending.send_due(at=NOON - MINUTE, limit=10) == 0
        assert sending.send_due(at=NOON, limit=2) == 2
        assert len(mail.outbox) == 2

    def test_leaves_alone_what_another_worker_has_leased(self):
        tell()
        NoticeDelivery.objects.update(lease_until=NOON + MINUTE)

        assert sending.send_due(at=NOON, limit=10) == 0
        assert sending.send_due(at=NOON + 2 * MINUTE, limit=10) == 1

    def test_backs_off_further_each_time_and_gives_up_after_eight(self, post):
        post.raises = CannotSend("busy")
        tell(channels=["post"])
        at, waits = NOON, []

        for _ in range(8):
            assert sending.send_due(at=at, limit=10) == 1
            delivery = NoticeDelivery.objects.get()
            waits.append(delivery.act_at and (delivery.act_at - at) // MINUTE)
            at = delivery.act_at or at

        assert waits == [1, 5, 15, 60, 180, 360, 720, None]
        assert (delivery.state, delivery.tries, delivery.error) == ("failed", 8, "busy")
        assert sending.send_due(at=at + 30 * DAY, limit=10) == 0

    def test_gives_up_at_once_where_no_try_can_help(self):
        owner = w.person()
        owner.phone, owner.email = "+8613800000099", None
        owner.save()
        tell(owner)

        sending.send_due(at=NOON, limit=10)

        assert (deliveries(), mail.outbox) == ([("email", "failed", 1)], [])
        assert NoticeDelivery.objects.get().error == "no address on file"

    def test_gives_up_a_channel_that_nobody_has_registered(self):
        tell(channels=["pigeon"])

        sending.send_due(at=NOON, limit=10)

        assert deliveries() == [("pigeon", "failed", 1)]

    def test_stops_when_the_server_is_down_and_charges_the_others_no_try(self, post):
        post.raises = CannotSend("down", is_outage=True)
        for number in range(3):
            tell(occurrence_key=str(number), channels=["post"])

        assert sending.send_due(at=NOON, limit=10) == 1

        assert [tries for _, _, tries in deliveries()] == [1, 0, 0]
        assert NoticeDelivery.objects.filter(lease_until__isnull=False).count() == 0
        post.raises = None
        assert sending.send_due(at=NOON + MINUTE, limit=10) == 3
        assert len(post.sent) == 3

    def test_survives_a_message_that_breaks_its_channel(self, post):
        class Broken:
            def send(self, *, message):
                raise ValueError("broken")

        channels.register("broken", Broken())
        tell(channels=["broken", "post"])

        assert sending.send_due(at=NOON, limit=10) == 2

        assert sorted(deliveries()) == [("broken", "waiting", 1), ("post", "sent", 1)]

    def test_counts_a_try_even_if_the_worker_dies_in_it(self, post):
        post.raises = KeyboardInterrupt()
        tell(channels=["post"])

        with pytest.raises(KeyboardInterrupt):
            sending.send_due(at=NOON, limit=10)

        delivery = NoticeDelivery.objects.get()
        assert (delivery.state, delivery.tries) == ("waiting", 1)
        assert delivery.lease_until == NOON + sending.LEASE

    def test_keeps_a_line_break_in_a_lines_name_out_of_the_subject(self):
        line = w.line(label="Mum\r\nBcc: eve@example.com")
        tell(line_id=line.pk)

        sending.send_due(at=NOON, limit=10)

        assert "\n" not in mail.outbox[0].subject
        assert mail.outbox[0].recipients() == ["alice@example.com"]


class TestTheEmailChannel:
    MESSAGE = channels.Message(reference="notice-1", email="a@example.com", title="T", body="B")

    @pytest.mark.parametrize(
        ("raised", "is_outage", "reason"),
        [
            (ConnectionRefusedError("a@example.com"), True, "ConnectionRefusedError"),
            (TimeoutError(), True, "TimeoutError"),
            (smtplib.SMTPServerDisconnected("a@example.com"), True, "SMTPServerDisconnected"),
            (smtplib.SMTPAuthenticationError(535, b"no"), True, "SMTPAuthenticationError"),
            (smtplib.SMTPConnectError(421, b"no"), True, "SMTPConnectError"),
            (smtplib.SMTPDataError(552, b"a@example.com"), False, "SMTPDataError 552"),
            (
                smtplib.SMTPRecipientsRefused({"a@example.com": (550, b"")}),
                False,
                "address refused",
            ),
        ],
    )
    def test_tells_an_outage_from_a_refusal_and_repeats_no_address(
        self, monkeypatch, raised, is_outage, reason
    ):
        def send(*_args, **_more):
            raise raised

        monkeypatch.setattr(mail.EmailMessage, "send", send)

        with pytest.raises(CannotSend) as refusal:
            channels.get("email").send(message=self.MESSAGE)

        assert (str(refusal.value), refusal.value.is_outage) == (reason, is_outage)
        assert refusal.value.is_final is False

    def test_is_known_beside_the_inbox(self):
        assert [channels.is_known(name) for name in ("inbox", "email", "pigeon")] == [
            True,
            True,
            False,
        ]
