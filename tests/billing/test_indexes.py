"""What each write of a recharge keeps up to date, and nothing twice."""

import pytest
from django.db import connection

pytestmark = pytest.mark.django_db

_TWINS = r"""
SELECT t.relname, a.relname, b.relname FROM pg_index x
JOIN pg_class a ON a.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
JOIN pg_index y ON y.indrelid = x.indrelid AND y.indexrelid <> x.indexrelid
JOIN pg_class b ON b.oid = y.indexrelid
WHERE t.relname = ANY(%s) AND NOT x.indisunique AND NOT a.relname LIKE '%%\_like'
  AND x.indpred IS NULL AND x.indexprs IS NULL
  AND y.indpred IS NULL AND y.indexprs IS NULL AND x.indnatts <= y.indnatts
  AND (y.indkey::int2[])[0:x.indnatts - 1] = x.indkey::int2[]
ORDER BY 1, 2"""
HOT = [
    "billing_recharge",
    "billing_rechargemove",
    "billing_paymentattempt",
    "billing_decision",
    "billing_transfer",
    "billing_notice",
    "billing_noticedelivery",
    "billing_railcall",
    "billing_rule",
    "lines_delivery",
    "lines_carriercall",
]


class TestTheTablesOfARecharge:
    def test_have_no_index_that_another_begins_with(self):
        with connection.cursor() as cursor:
            cursor.execute(_TWINS, [HOT])
            assert cursor.fetchall() == []

    def test_find_the_few_moves_that_are_a_persons(self):
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("EXPLAIN SELECT 1 FROM billing_rechargemove WHERE actor_id = 1")
            assert "move_by_actor" in "\n".join(row[0] for row in cursor.fetchall())
