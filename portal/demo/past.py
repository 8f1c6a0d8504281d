"""The months behind the demo, played through the domain and the real executor at their own times.

Nothing is invented in tables: agreements are signed at the simulated Alipay, lines are proven by
the code that was sent, plans are confirmed, and every recharge is a real call to both simulators.
So the three books agree from the first minute.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import requests
from django.db.models import Sum
from django_q.models import OrmQ

from billing import gateways
from billing.bindings import lifecycle as binding_lifecycle
from billing.engine import executor
from billing.models import Binding, Notice, Rail, Rule
from billing.outside import Outside
from billing.plans import contract
from billing.plans.drafts import Draft
from billing.rules import readings
from billing.rules.balances import Reading
from lines import lifecycle, markets
from lines.models import Carrier, Line
from portal.accounts.models import User
from portal.demo.cast import OPERATORS, PASSWORD, PEOPLE, SPARE, Card, Person
from portal.demo.factories import (
    CarrierFactory,
    EmailAddressFactory,
    PromotionFactory,
    UserFactory,
)
from portal.demo.stage import OF_THE_MAINLAND

ZONE = "Asia/Shanghai"
EAST_OF_IT = "Asia/Tokyo"  # an hour ahead
CHARGE_TIME = time(9, 30)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
_TIMEOUT_S = 30
FULL_MINOR = 6_000  # a line's balance when its story begins


@dataclass(frozen=True)
class Simulators:
    """Where the two other books are, and their control."""

    rails: dict[str, str]  # by code, as the carriers
    carriers: dict[str, str]

    def order(self, method: str, url: str, body: Any = None) -> Any:
        answer = requests.request(method, url, json=body, timeout=_TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()


@dataclass(frozen=True)
class Past:
    """Everything needed to live the months again."""

    simulators: Simulators
    outside: Outside
    now: datetime
    say: Callable[[str], None]

    def seed(self) -> None:
        """People, lines, plans and their history. Once: a demo that has people is left alone."""
        if User.objects.exists():
            self.say("  there already; nothing changed")
            return
        carriers = self.furnish()
        for person in PEOPLE:
            self._live(person, carriers)
            self.say(f"  {person.name}: {len(person.cards)} line(s)")
        self.keep_the_law()
        OrmQ.objects.all().delete()  # nudges of months ago

    def furnish(self) -> dict[str, Carrier]:
        """What is there before any subscriber: carriers, an offer, operators, payers' money."""
        carriers = self._carriers()
        self._promotion()
        for payer in {person.payer for person in PEOPLE if person.rail == "alipay"}:
            self._let_pay(payer)
        for card in SPARE:
            self._hand_out(card)
        for name, email, is_staff in OPERATORS:
            _person(name, email, language="zh-hans", is_staff=is_staff)
        return carriers

    def keep_the_law(self) -> None:
        """From now on. What the months before were charged, was charged without such a notice."""
        for carrier in Carrier.objects.filter(code__in=OF_THE_MAINLAND):
            carrier.notice_before_deduction_h = markets.notice_h(currency=carrier.currency)
            carrier.save(update_fields=["notice_before_deduction_h"])
        Rule.objects.filter(is_on=True, paused_at=None).update(wake_at=self.now)

    def _carriers(self) -> dict[str, Carrier]:
        return {
            code: CarrierFactory.create(code=code, max_balance_minor=100_000, base_url=url)
            for code, url in self.simulators.carriers.items()
        }

    def _promotion(self) -> None:
        PromotionFactory.create(
            code="autopay",
            name="自动充值 98.5 折",
            name_en="Auto-recharge, 1.5 % off",
            basis_points=150,
            starts_at=self.now - 400 * DAY,
            ends_at=self.now + 400 * DAY,
            triggers=["schedule", "low_balance", "expiry"],
            budget_minor=1_000_000,
        )

    def _let_pay(self, payer: str) -> None:
        """Half a year of charges falls on one day of the simulator's."""
        url = f"{self.simulators.rails['alipay']}/_control/payers/{payer}"
        self.simulators.order("POST", url, {"daily_limit_minor": 100_000_000})

    # --- one person ---------------------------------------------------------------------------

    def _live(self, person: Person, carriers: dict[str, Carrier]) -> None:
        owner = _person(person.name, person.email, language=person.language)
        months = max(card.months for card in person.cards)
        began = self.now - (30 * months + 3) * DAY
        tool = None
        if any(card.face_minor for card in person.cards):
            tool = self._bind(owner, person, at=began)
        for card in person.cards:
            line = self._add(owner, card, carriers[card.carrier], at=began)
            if tool is not None and card.face_minor:
                self._play(line, card, tool)

    def _bind(self, owner: Any, person: Person, *, at: datetime) -> Binding:
        """Sign at the simulated rail, as the payer would on its page."""
        gateway = gateways.get(person.rail)
        started = binding_lifecycle.start(
            owner=owner,
            rail=Rail.objects.get(code=person.rail),
            return_url="http://127.0.0.1/",
            notify_url=self.outside.notify_url(person.rail),
            payer_ip="127.0.0.1",
            gateway=gateway,
            at=at,
        )
        _SIGN[person.rail](self.simulators, started.binding, person.payer)
        return binding_lifecycle.refresh(binding=started.binding, gateway=gateway, at=at)

    def _hand_out(self, card: Card) -> None:
        """The carrier's own side of a line."""
        self.simulators.order(
            "POST",
            f"{self.simulators.carriers[card.carrier]}/_control/lines",
            {
                "number": card.number,
                "iccid": card.iccid,
                "balance_minor": FULL_MINOR,
                "valid_until": (self.now + 21 * DAY).isoformat(),
                "extends_days": 30,
                "notify_below_minor": card.threshold_minor,
            },
        )

    def _add(self, owner: Any, card: Card, carrier: Carrier, *, at: datetime) -> Line:
        self._hand_out(card)
        given = {
            "owner": owner,
            "carrier": carrier,
            "msisdn": card.number,
            "iccid": card.iccid,
            "label": card.label,
            "timezone": zone_of(card, soon=self._soon),
            "at": at,
        }
        if card.is_esim:
            code = f"LPA:1$smdp.example.com$KEEPLINE-{card.number[-4:]}"
            line = lifecycle.add_esim(**given, activation_code=code)
        else:
            line = lifecycle.add_fm(**given)
        if card.fate == "unverified":
            return line
        proof = lifecycle.request_proof(line=line, at=at)
        return lifecycle.prove(line=line, code=proof.code, at=at)

    # --- one line's months --------------------------------------------------------------------

    def _play(self, line: Line, card: Card, tool: Binding) -> None:
        """Day by day: the balance falls and is reported, and whatever is due then happens."""
        began = self.now - 30 * card.months * DAY
        balance = FULL_MINOR if card.months else card.now_minor
        self._read(line, balance, at=began - MINUTE)
        rule = self._confirm(line, card, tool, at=began)
        days = [began + n * DAY for n in range(30 * card.months)]
        for today, tomorrow in pairwise(days):
            balance = self._day(line, card, balance, today, until=tomorrow)
        if card.fate == "capped":  # on the first of a month its cap would be fresh
            self._day(line, card, balance, self.now - 2 * MINUTE, until=self.now)
        if card.fate == "paused":
            contract.pause(rule=rule, until=self.now + 14 * DAY, at=self.now - DAY)

    def _day(
        self, line: Line, card: Card, balance: int, today: datetime, *, until: datetime
    ) -> int:
        used = card.daily_minor * (80 + (today.day * 37) % 41) // 100  # livelier than a ruler
        balance -= used
        self._read(line, balance, at=today)
        balance = self._topped_up(line, balance, at=today)
        rule = Rule.objects.get(line=line)
        if rule.next_run_at is not None and today < rule.next_run_at < until - MINUTE:
            balance = self._topped_up(line, balance, at=rule.next_run_at)
        return balance

    def _topped_up(self, line: Line, balance: int, *, at: datetime) -> int:
        """The balance after whatever is due at `at`, reported as soon as it has changed."""
        credited = self._work(line, at=at)
        if credited:
            self._read(line, balance + credited, at=at + MINUTE)
        return balance + credited

    def _work(self, line: Line, *, at: datetime) -> int:
        """Whatever is due at `at`; what the line was credited by it."""
        before = _credited(line)
        while executor.run_batch(at=at, outside=self.outside).total:
            pass
        return _credited(line) - before

    def _read(self, line: Line, balance_minor: int, *, at: datetime) -> None:
        readings.push(reading=Reading(line.pk, balance_minor, at), at=at)

    def _confirm(self, line: Line, card: Card, tool: Binding, *, at: datetime) -> Rule:
        capabilities = gateways.capabilities(tool.rail_id)
        rule = contract.save_draft(
            draft=self._draft(line, card, tool, at=at), capabilities=capabilities, at=at
        )
        return contract.confirm(
            rule=rule,
            owner=line.owner,
            seen_version=rule.version,
            capabilities=capabilities,
            language=line.owner.language,
            ip="127.0.0.1",
            user_agent="Keepline demo",
            at=at,
        )

    def _draft(self, line: Line, card: Card, tool: Binding, *, at: datetime) -> Draft:
        first = first_charge(card, agreed_at=at, soon=self._soon)
        return Draft(
            line=line,
            binding=tool,
            face_minor=card.face_minor,
            max_per_charge_minor=max(card.face_minor * 2, 5_000),
            max_per_month_minor=card.month_cap_minor,
            max_per_day_count=card.most_a_day,
            cycle=card.cycle,
            anchor_date=None if card.cycle == "none" else first.date(),
            charge_time=first.time(),
            threshold_minor=card.threshold_minor,
            topup_mode="to" if card.target_minor else "by",
            target_minor=card.target_minor,
            expiry_days_before=card.expiry_days,
        )

    @property
    def _soon(self) -> datetime:
        """When the visitor, who waits for web and workers to start, is there to see it."""
        return self.now + timedelta(seconds=100)

    # --- the present --------------------------------------------------------------------------

    def present(self) -> None:
        """The balances a visitor finds, and the usage that will run some of them low."""
        for card in (*(card for person in PEOPLE for card in person.cards), *SPARE):
            self._set(card)
        Rule.objects.update(cooldown_s=60, cooldown_until=None, channels=["inbox", "email"])
        Notice.objects.filter(created_at__lt=self.now - DAY, read_at__isnull=True).update(
            read_at=self.now
        )
        Line.objects.filter(verified_at__isnull=False).update(poll_at=self.now)

    def _set(self, card: Card) -> None:
        carrier = self.simulators.carriers[card.carrier]
        url = f"{carrier}/_control/lines/{card.number}"
        changes: dict[str, Any] = {
            "balance_minor": card.now_minor,
            "usage_minor_per_day": card.daily_minor if card.fate != "unverified" else 0,
        }
        if card.fate == "ported":
            changes["status"] = "ported_out"
        self.simulators.order("PATCH", url, changes)


# --- signing at each rail, without a browser ----------------------------------------------------


def _sign_alipay(simulators: Simulators, binding: Binding, payer: str) -> None:
    agreement = {
        "external_agreement_no": binding.ref,
        "product_code": "GENERAL_WITHHOLDING",
        "personal_product_code": "GENERAL_WITHHOLDING_P",
        "sign_scene": "INDUSTRY|MOBILE",
        "access_params": {"channel": "ALIPAYAPP"},
        "payer": payer,
    }
    simulators.order("POST", f"{simulators.rails['alipay']}/_control/agreements", agreement)


def _sign_wechat(simulators: Simulators, binding: Binding, payer: str) -> None:
    """Signed long ago: in the first twelve hours WeChat Pay charges at once."""
    url = f"{simulators.rails['wechat']}/_control/contracts"
    signed = simulators.order("POST", url, {"contract_code": binding.ref, "payer": payer})
    simulators.order("POST", f"{url}/{signed['contract_id']}/age", {"by_s": 3 * 24 * 3600})


def _sign_stripe(simulators: Simulators, binding: Binding, card: str) -> None:
    url = f"{simulators.rails['stripe']}/_control"
    chosen = simulators.order("POST", f"{url}/sessions/{binding.provider_ref}", {"card": card})
    page, _slash, setup = chosen["goes_to"].rpartition("/")
    if page.endswith("3ds"):  # the card's bank asks, once, whether it was really its holder
        simulators.order("POST", f"{url}/confirmations/{setup}", {"agrees": True})


_SIGN: dict[str, Callable[[Simulators, Binding, str], None]] = {
    "alipay": _sign_alipay,
    "wechat": _sign_wechat,
    "stripe": _sign_stripe,
}


# --- the first charge of a plan -----------------------------------------------------------------


def zone_of(card: Card, *, soon: datetime) -> str:
    """Where the line lives.

    Nothing is planned in a day's last half hour; what is to fall due in it lives where the next
    day has begun.
    """
    local = soon.astimezone(ZoneInfo(ZONE))
    is_late = (local.hour, local.minute) >= (23, 30)
    return EAST_OF_IT if card.fate == "due_soon" and is_late else ZONE


def first_charge(card: Card, *, agreed_at: datetime, soon: datetime) -> datetime:
    """By the line's own clock: `soon`, or on the first of the card's days after the agreement's,
    on which the hour may have passed."""
    if card.fate == "due_soon":
        return soon.astimezone(ZoneInfo(zone_of(card, soon=soon))).replace(microsecond=0)
    day = agreed_at.astimezone(ZoneInfo(ZONE)).date() + DAY
    while day.day != card.day:
        day += DAY
    return datetime.combine(day, CHARGE_TIME)


def _credited(line: Line) -> int:
    done = line.recharges.filter(state="completed")
    return int(done.aggregate(total=Sum("credited_minor"))["total"] or 0)


def _person(name: str, email: str, *, language: str, is_staff: bool = False) -> User:
    person = UserFactory.create(
        name=name, email=email, password=PASSWORD, language=language, administrator=is_staff
    )
    EmailAddressFactory.create(user=person)
    return person
