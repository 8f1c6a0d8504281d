"""What the database itself refuses: illegal moves of a recharge, and any change to a record.

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
