"""What the executor's work costs at the least: set-based SQL that writes the same rows.

For each batch of due rules it writes, in the executor's three transactions, the same inserts and
updates, with no decision, no call and no Python per row in between. References are made by the
server. It is a yardstick, not a design: nothing here could say no to anybody.
"""

from django.db import connection, transaction

OPEN = """
WITH due AS (
  SELECT r.id, r.line_id, r.binding_id, l.owner_id FROM billing_rule r
  JOIN lines_line l ON l.id = r.line_id
  WHERE r.wake_at <= now() AND r.is_on ORDER BY r.wake_at LIMIT %(batch)s
  FOR NO KEY UPDATE OF r SKIP LOCKED),
opened AS (
  INSERT INTO billing_recharge (ref, line_id, owner_id, rule_id, binding_id, rail, sim_generation,
    trigger, period_key, state, reason, face_minor, discount_minor, bonus_minor, price_minor,
    refund_committed_minor, currency, ladder_s, declines, attempt_count, delivery_count, cap_day,
    cap_month, created_at, due_at, expires_at, act_at, fence, crash_count, queries, action_url,
    attention)
  SELECT 'G' || id, line_id, owner_id, id, binding_id, 'alipay', 1, 'low_balance', 'e1', 'due',
    'opened', 5000, 0, 0, 5000, 0, 'CNY', '{21600,86400,259200}', 0, 0, 0, current_date,
    date_trunc('month', now()), now(), now(), now() + interval '1 day', now(), 0, 0, 0, '', ''
  FROM due RETURNING id, rule_id),
moves AS (
  INSERT INTO billing_rechargemove (recharge_id, source, target, because, note, at)
  SELECT id, '', 'due', 'opened', '', now() FROM opened),
decisions AS (
  INSERT INTO billing_decision (rule_id, trigger, period_key, code, is_charge, facts,
    recharge_id, at)
  SELECT rule_id, 'low_balance', 'e1', 'charge', true, '{"balance_minor": 980}', id, now()
  FROM opened)
UPDATE billing_rule r SET is_armed = false, wake_at = NULL FROM due WHERE r.id = due.id"""
CLAIM = """
WITH picked AS (
  SELECT id FROM billing_recharge WHERE act_at <= now() AND state = 'due'
  ORDER BY act_at LIMIT %(batch)s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE billing_recharge g SET fence = fence + 1, crash_count = crash_count + 1,
  lease_until = now() + interval '90 seconds' FROM picked WHERE g.id = picked.id RETURNING g.id"""
CHARGE = """
WITH moved AS (
  UPDATE billing_recharge SET state = 'charging', reason = 'sent', attempt_count = 1,
    crash_count = 0 WHERE id = ANY(%(ids)s) RETURNING id, binding_id),
moves AS (
  INSERT INTO billing_rechargemove (recharge_id, source, target, because, note, at)
  SELECT id, 'due', 'charging', 'sent', '', now() FROM moved)
INSERT INTO billing_paymentattempt (recharge_id, number, reference, rail, binding_id, amount_minor,
  currency, state, provider_ref, code, decline_class, created_at)
SELECT id, 1, 'A' || id, 'alipay', binding_id, 5000, 'CNY', 'intended', '', '', '', now()
FROM moved"""
PAID = """
WITH moved AS (
  UPDATE billing_recharge SET state = 'delivering', reason = 'paid', charged_at = now(),
    delivery_count = 1 WHERE id = ANY(%(ids)s) RETURNING id, ref, line_id),
moves AS (
  INSERT INTO billing_rechargemove (recharge_id, source, target, because, note, at)
  SELECT id, 'charging', 'delivering', 'paid', '', now() FROM moved),
evidence AS (
  INSERT INTO billing_railcall (rail, kind, reference, request, response, is_verified, error, at)
  SELECT 'alipay', 'charge', 'A' || id, %(text)s, %(text)s, true, '', now() FROM moved),
attempts AS (
  UPDATE billing_paymentattempt a SET state = 'succeeded', provider_ref = 'T' || a.recharge_id,
    settled_at = now() FROM moved WHERE a.recharge_id = moved.id),
money AS (
  INSERT INTO billing_transfer (recharge_id, kind, reference, source, destination, amount_minor,
    currency, at)
  SELECT id, 'charge', 'A' || id, 'rail:alipay', 'undelivered', 5000, 'CNY', now() FROM moved)
INSERT INTO lines_delivery (reference, order_ref, number, line_id, amount_minor, currency, state,
  carrier_ref, code, created_at)
SELECT 'D' || id, ref, 1, line_id, 5000, 'CNY', 'intended', '', '', now() FROM moved"""
CREDITED = """
WITH moved AS (
  UPDATE billing_recharge SET state = 'completed', reason = 'credited', completed_at = now(),
    credited_minor = 5000, act_at = NULL, lease_until = NULL
  WHERE id = ANY(%(ids)s) RETURNING id, rule_id, line_id, owner_id, ref),
moves AS (
  INSERT INTO billing_rechargemove (recharge_id, source, target, because, note, at)
  SELECT id, 'delivering', 'completed', 'credited', '', now() FROM moved),
evidence AS (
  INSERT INTO lines_carriercall (kind, reference, request, response, error, at)
  SELECT 'credit', 'D' || id, %(text)s, %(text)s, '', now() FROM moved),
deliveries AS (
  UPDATE lines_delivery d SET state = 'credited', carrier_ref = 'C', credited_minor = 5000,
    settled_at = now() FROM moved WHERE d.order_ref = moved.ref),
money AS (
  INSERT INTO billing_transfer (recharge_id, kind, reference, source, destination, amount_minor,
    currency, at)
  SELECT id, 'deliver', 'D' || id, 'undelivered', 'carrier:cmcc', 5000, 'CNY', now() FROM moved),
rules AS (
  UPDATE billing_rule r SET cooldown_until = now() + interval '1 hour' FROM moved
  WHERE r.id = moved.rule_id),
lines AS (
  UPDATE lines_line l SET poll_at = now() + interval '30 seconds' FROM moved
  WHERE l.id = moved.line_id)
INSERT INTO billing_notice (owner_id, kind, occurrence_key, line_id, recharge_id, facts, created_at)
SELECT owner_id, 'recharged', ref || ':credited', line_id, id, '{"face_minor": 5000}', now()
FROM moved"""


def run(*, batch: int, text: str) -> int:
    """Recharge every due rule; how many."""
    done = 0
    while True:
        with transaction.atomic():
            _execute(OPEN, batch=batch)
        with transaction.atomic():
            ids = _execute(CLAIM, batch=batch)
        if not ids:
            return done
        for sql in (CHARGE, PAID, CREDITED):
            with transaction.atomic():
                _execute(sql, ids=ids, text=text)
        done += len(ids)


def _execute(sql: str, **params: object) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return [row[0] for row in cursor.fetchall()] if cursor.description else []
