"""What `verification` proves of cases: they are shown, and none is open whose cause is over."""

from collections.abc import Mapping

from billing import casebook

TRIGGERS = (
    ("billing_recharge", "attention_is_shown"),
    ("billing_refund", "attention_is_shown"),
    ("billing_case", "case_kept"),
    ("billing_case", "case_never_gone"),
    ("billing_case", "case_shown"),
)
# Of what, which code, in which state it can be open.
STANDING = [
    f"{of} {code} {state}"
    for of, kinds in (("recharge", casebook.RECHARGE), ("refund", casebook.REFUND))
    for code, kind in kinds.items()
    for state in sorted(kind.stands_in)
]
CHECKS: Mapping[str, str] = {
    # What a person is shown is what waits, and nothing waits whose cause is over.
    "attention_is_the_oldest_open_case": """
      SELECT COALESCE(m.ref, (SELECT ref FROM billing_recharge WHERE id = c.recharge_id))
      FROM (SELECT DISTINCT ON (recharge_id) recharge_id, code, since FROM billing_case
            WHERE settled_at IS NULL ORDER BY recharge_id, since, id) c
      FULL JOIN (SELECT id, ref, attention, attention_since FROM billing_recharge
                 WHERE attention <> '') m ON m.id = c.recharge_id
      WHERE (m.attention, m.attention_since) IS DISTINCT FROM (c.code, c.since)
      UNION ALL
      SELECT COALESCE(m.reference, (SELECT reference FROM billing_refund WHERE id = c.refund_id))
      FROM (SELECT DISTINCT ON (refund_id) refund_id, code FROM billing_case
            WHERE settled_at IS NULL AND refund_id IS NOT NULL ORDER BY refund_id, since, id) c
      FULL JOIN (SELECT id, reference, attention FROM billing_refund
                 WHERE attention <> '') m ON m.id = c.refund_id
      WHERE m.attention IS DISTINCT FROM c.code""",
    "cases_stand_where_they_can": """
      SELECT g.ref FROM billing_case c JOIN billing_recharge g ON g.id = c.recharge_id
      LEFT JOIN billing_refund f ON f.id = c.refund_id
      WHERE c.settled_at IS NULL AND (f.recharge_id <> g.id OR CASE WHEN f.id IS NULL
        THEN 'recharge ' || c.code || ' ' || g.state
        ELSE 'refund ' || c.code || ' ' || f.state END <> ALL(%(standing)b))""",
}
