"""What the database itself refuses: illegal moves of a recharge, any change to a record or to a
settled case, and another `attention` than the oldest open case.

The first is made from `states.MOVES`. Migrations install it, and hold the text of their day: when
what is said here changes, tests/house/test_migrations.py asks for a new one (docs/money.md).
"""

from collections.abc import Iterable, Mapping

APPEND_ONLY = (
    "billing_transfer",
    "billing_rechargemove",
    "billing_railcall",
    "billing_consent",
    "billing_decision",
    "lines_carriercall",
    "lines_operation",
)


def legal_moves_sql(*, moves: Mapping[str, Iterable[str]], first: Iterable[str]) -> str:
    """The function and trigger that hold `billing_recharge.state` to `moves`. Repeatable."""
    pairs = ", ".join(
        f"'{source}>{target}'" for source in moves for target in sorted(moves[source])
    )
    starts = ", ".join(f"'{state}'" for state in first)
    return f"""
CREATE OR REPLACE FUNCTION billing_recharge_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> ALL (ARRAY[{starts}]) THEN
      RAISE EXCEPTION 'a recharge cannot begin as %', NEW.state
        USING ERRCODE = 'check_violation', CONSTRAINT = 'recharge_legal_start';
    END IF;
  ELSIF (OLD.state || '>' || NEW.state) <> ALL (ARRAY[{pairs}]) THEN
    RAISE EXCEPTION 'a recharge cannot go from % to %', OLD.state, NEW.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'recharge_legal_move';
  END IF;
  RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS recharge_starts ON billing_recharge;
CREATE TRIGGER recharge_starts BEFORE INSERT ON billing_recharge
  FOR EACH ROW EXECUTE FUNCTION billing_recharge_moves();
DROP TRIGGER IF EXISTS recharge_moves ON billing_recharge;
CREATE TRIGGER recharge_moves BEFORE UPDATE OF state ON billing_recharge
  FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
  EXECUTE FUNCTION billing_recharge_moves();
"""


def append_only_sql(tables: Iterable[str]) -> str:
    """Statement triggers that refuse UPDATE, DELETE and TRUNCATE of `tables`. Repeatable."""
    function = """
CREATE OR REPLACE FUNCTION keepline_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append only: correct it with a new row', TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END $$;
"""
    return function + "".join(
        f"""
DROP TRIGGER IF EXISTS append_only ON {table};
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION keepline_append_only();
"""
        for table in tables
    )


_SHOWN = """
  UPDATE billing_{table} s SET {assign} FROM (SELECT 1) AS one LEFT JOIN (
    SELECT code, since FROM billing_case
    WHERE {table}_id = NEW.{table}_id AND settled_at IS NULL ORDER BY since, id LIMIT 1
  ) c ON true
  WHERE s.id = NEW.{table}_id;"""


def cases_sql() -> str:
    """Triggers that keep what was settled, and the marker of what is open. Repeatable."""
    recharge = _SHOWN.format(
        table="recharge", assign="attention = COALESCE(c.code, ''), attention_since = c.since"
    )
    refund = _SHOWN.format(table="refund", assign="attention = COALESCE(c.code, '')")
    return f"""
CREATE OR REPLACE FUNCTION billing_case_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a case is settled once, and otherwise kept as it was opened'
    USING ERRCODE = 'restrict_violation';
END $$;
DROP TRIGGER IF EXISTS case_kept ON billing_case;
CREATE TRIGGER case_kept BEFORE UPDATE ON billing_case FOR EACH ROW
  WHEN (OLD.settled_at IS NOT NULL OR NEW.settled_at IS NULL
    OR (OLD.recharge_id, OLD.refund_id, OLD.code, OLD.says, OLD.since)
      IS DISTINCT FROM (NEW.recharge_id, NEW.refund_id, NEW.code, NEW.says, NEW.since))
  EXECUTE FUNCTION billing_case_kept();
DROP TRIGGER IF EXISTS case_never_gone ON billing_case;
CREATE TRIGGER case_never_gone BEFORE DELETE OR TRUNCATE ON billing_case
  FOR EACH STATEMENT EXECUTE FUNCTION billing_case_kept();
CREATE OR REPLACE FUNCTION billing_case_shown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- Whoever opens or settles another one now waits here, so that what follows sees it.
  PERFORM 1 FROM billing_recharge WHERE id = NEW.recharge_id FOR NO KEY UPDATE;{recharge}
  IF NEW.refund_id IS NOT NULL THEN{refund}
  END IF;
  RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS case_shown ON billing_case;
CREATE TRIGGER case_shown AFTER INSERT OR UPDATE ON billing_case
  FOR EACH ROW EXECUTE FUNCTION billing_case_shown();
CREATE OR REPLACE FUNCTION billing_attention_is_shown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'attention shows the oldest open case: open or settle one'
    USING ERRCODE = 'restrict_violation';
END $$;
DROP TRIGGER IF EXISTS attention_is_shown ON billing_recharge;
CREATE TRIGGER attention_is_shown BEFORE UPDATE OF attention, attention_since ON billing_recharge
  FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND (OLD.attention, OLD.attention_since)
    IS DISTINCT FROM (NEW.attention, NEW.attention_since))
  EXECUTE FUNCTION billing_attention_is_shown();
DROP TRIGGER IF EXISTS attention_is_shown ON billing_refund;
CREATE TRIGGER attention_is_shown BEFORE UPDATE OF attention ON billing_refund
  FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND OLD.attention IS DISTINCT FROM NEW.attention)
  EXECUTE FUNCTION billing_attention_is_shown();
"""
