"""What people said, and what went back: each in the books as it was said and as it went."""

from collections.abc import Mapping

CHECKS: Mapping[str, str] = {
    "settled_in_the_ledger": """
      SELECT w.reference FROM billing_settlement w
      JOIN billing_paymentattempt a ON a.id = w.attempt_id
      LEFT JOIN billing_transfer t ON t.reference = a.reference AND t.kind = 'stray'
      LEFT JOIN billing_transfer b ON b.reference = w.returned_ref AND b.kind = 'stray_returned'
      WHERE (w.state = 'approved' AND w.finding = 'given_back')
        AND ((t.amount_minor, t.currency, b.amount_minor, b.currency) IS DISTINCT FROM
             (w.taken_minor, w.taken_currency, w.taken_minor, w.taken_currency))
      UNION ALL
      SELECT g.ref FROM billing_recharge g
      JOIN (
        SELECT recharge_id, sum(said) AS said, sum(booked) AS booked, sum(cost) AS cost FROM (
          SELECT recharge_id, taken_minor AS said, 0 AS booked, 0 AS cost
          FROM billing_settlement WHERE state = 'approved' AND finding = 'lost'
          UNION ALL
          SELECT recharge_id, -taken_minor, 0, 0
          FROM billing_settlement WHERE state = 'approved' AND finding = 'returned'
          UNION ALL
          SELECT recharge_id, 0,
            CASE kind WHEN 'chargeback' THEN amount_minor WHEN 'chargeback_returned'
                      THEN -amount_minor ELSE 0 END,
            CASE 'losses' WHEN source THEN amount_minor WHEN destination THEN -amount_minor
                          ELSE 0 END
          FROM billing_transfer
          WHERE kind IN ('chargeback', 'chargeback_returned', 'loss_covered')) each_one
        GROUP BY 1) w ON w.recharge_id = g.id
      -- What went back whole, a bank may take all the same: at most what was charged.
      WHERE w.said <> w.booked OR w.cost NOT BETWEEN 0 AND g.price_minor
        - CASE WHEN g.state = 'refunded' THEN 0 ELSE g.refund_committed_minor END
      UNION ALL
      -- Given back otherwise than was asked for: as two people have said, in sum.
      SELECT f.reference FROM billing_refund f
      LEFT JOIN billing_settlement w ON w.refund_id = f.id AND w.state = 'approved'
        AND w.finding IN ('otherwise', 'refunded')
      LEFT JOIN LATERAL (
        SELECT min(currency) FILTER (WHERE kind <> 'refund_kept') AS currency,
          sum(CASE WHEN kind = 'refund_kept' THEN 0 ELSE amount_minor END) AS minor,
          bool_or(kind NOT IN ('refund', 'refund_kept')) AS is_odd
        FROM billing_transfer WHERE reference = f.reference
          AND kind IN ('refund', 'refund_excess', 'refund_foreign', 'refund_kept')) t ON true
      WHERE CASE w.finding
        WHEN 'otherwise' THEN (t.minor, t.currency) IS DISTINCT FROM
          (w.taken_minor, w.taken_currency)
        WHEN 'refunded' THEN t.minor IS DISTINCT FROM f.amount_minor
        ELSE COALESCE(t.is_odd, false) OR f.given_minor IS NOT NULL END
      UNION ALL
      SELECT g.ref FROM billing_transfer t JOIN billing_recharge g ON g.id = t.recharge_id
      WHERE 'suspense' IN (t.source, t.destination) GROUP BY g.id, t.currency
      HAVING sum(CASE t.destination WHEN 'suspense' THEN t.amount_minor
                                    ELSE -t.amount_minor END) <> 0""",
    "refunds_within_the_charge": """
      SELECT g.ref FROM billing_recharge g LEFT JOIN billing_refund f ON f.recharge_id = g.id
      GROUP BY g.id
      HAVING COALESCE(sum(COALESCE(f.given_minor, f.amount_minor))
                        FILTER (WHERE f.state <> 'refused'), 0)
             <> g.refund_committed_minor
          OR g.refund_committed_minor > g.price_minor""",
    "refunded_in_the_ledger": """
      SELECT f.reference FROM billing_refund f
      LEFT JOIN billing_transfer t ON t.reference = f.reference AND t.kind = ANY(CASE f.way
        WHEN 'rail' THEN ARRAY['refund', 'refund_kept'] WHEN 'elsewhere' THEN ARRAY['paid_out']
        ELSE ARRAY['chargeback', 'loss_covered'] END)
      LEFT JOIN billing_transfer b ON b.reference = f.reference
        AND b.kind = CASE f.way WHEN 'bank' THEN 'chargeback_returned' ELSE 'refund_failed' END
      WHERE (f.state = 'succeeded') <> (t.id IS NOT NULL AND b.id IS NULL)
         OR t.amount_minor <> COALESCE(f.given_minor, f.amount_minor)
         OR b.amount_minor <> t.amount_minor OR (b.id IS NOT NULL AND t.id IS NULL)""",
}
