"""Rules by the hundred thousand, written by set-based SQL: a bench needs them, not their story."""

from django.db import connection

PEOPLE = """
INSERT INTO accounts_user (password, is_superuser, public_id, email, name, language, timezone,
                           is_staff, is_active, date_joined)
SELECT '!', false, 'U' || n, 'bench' || n || '@example.com', '', 'zh-hans', 'Asia/Shanghai',
       false, true, now() FROM generate_series(1, %(people)s) n"""
BINDINGS = """
INSERT INTO billing_binding (ref, owner_id, rail, provider_ref, label, fingerprint, state,
                             is_default, created_at, failures_in_a_row, pause_reason)
SELECT 'B' || u.id, u.id, 'alipay', %(sealed)s, '', 'f' || u.id, 'active', true, now(), 0, ''
FROM accounts_user u WHERE u.email LIKE 'bench%%'"""
LINES = """
INSERT INTO lines_line (public_id, owner_id, kind, carrier_id, label, msisdn, iccid,
  sim_generation, status, timezone, currency, created_at, balance_minor,
  balance_reserved_minor, balance_observed_at)
SELECT 'L' || n, b.owner_id, 'fm', %(carrier)s, '', '+8613' || lpad(n::text, 9, '0'), '', 1,
  'active', 'Asia/Shanghai', 'CNY', now(), 980, 0, now()
FROM generate_series(%(first)s, %(last)s) n
JOIN (SELECT owner_id, row_number() OVER (ORDER BY id) AS k FROM billing_binding) b
  ON b.k = 1 + n %% %(people)s"""
CONSENTS = """
INSERT INTO billing_consent (line_id, owner_id, binding_id, text, text_version, language, plan, at,
                             user_agent)
SELECT l.id, l.owner_id, b.id, '', '1', 'zh-hans', '{}', now(), ''
FROM lines_line l JOIN billing_binding b ON b.owner_id = l.owner_id
WHERE NOT EXISTS (SELECT 1 FROM billing_consent c WHERE c.line_id = l.id)"""
RULES = """
INSERT INTO billing_rule (public_id, line_id, sim_generation, binding_id, face_minor, currency,
  cycle, charge_time, next_index, grace_s, lead_s, threshold_minor, topup_mode, hysteresis_minor,
  is_armed, episode, low_episode, cooldown_s, max_reading_age_s, max_per_charge_minor,
  max_per_day_count, max_per_month_minor, remind_low_balance, remind_days_before, remind_result,
  channels, is_on, consent_id, pause_reason, crash_count, version, created_at, wake_at)
SELECT 'R' || l.id, l.id, 1, c.binding_id, 5000, 'CNY', 'none', '12:00', 0, 86400, 0, 1000, 'by', 0,
  true, 1, 0, 3600, 86400, 10000, 1, 15000, true, '{}', true, '{inbox}', true, c.id, '', 0, 1,
  now(),
  CASE WHEN row_number() OVER (ORDER BY l.id DESC) <= %(due)s THEN now() - interval '1 second'
       ELSE now() + interval '30 days' END
FROM lines_line l JOIN billing_consent c ON c.line_id = l.id
WHERE NOT EXISTS (SELECT 1 FROM billing_rule r WHERE r.line_id = l.id)"""


def people(count: int, *, sealed: str) -> None:
    """`count` persons with an active binding each."""
    _run(PEOPLE, people=count)
    _run(BINDINGS, sealed=sealed)


def rules(*, carrier_id: int, first: int, last: int, owners: int, due: int) -> None:
    """Lines number `first` to `last`, each with a rule that is on; `due` of them due now."""
    _run(LINES, carrier=carrier_id, first=first, last=last, people=owners)
    _run(CONSENTS)
    _run(RULES, due=due)


def analyze() -> None:
    _run("ANALYZE")


def _run(sql: str, **params: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
