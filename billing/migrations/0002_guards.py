"""The database's own guards, as they were then. How later ones ship: docs/money.md."""

from django.db import migrations

LEGAL_MOVES = """
CREATE OR REPLACE FUNCTION billing_recharge_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> ALL (ARRAY['waiting', 'review', 'due']) THEN
      RAISE EXCEPTION 'a recharge cannot begin as %', NEW.state
        USING ERRCODE = 'check_violation', CONSTRAINT = 'recharge_legal_start';
    END IF;
  ELSIF (OLD.state || '>' || NEW.state) <> ALL (ARRAY['waiting>canceled', 'waiting>due', 'waiting>missed', 'waiting>review', 'review>canceled', 'review>due', 'review>missed', 'due>canceled', 'due>charging', 'due>missed', 'due>review', 'due>waiting', 'charging>action_required', 'charging>charged', 'charging>declined', 'charging>delivering', 'charging>due', 'charging>failed', 'charging>payment_pending', 'charging>payment_unknown', 'charging>review', 'payment_pending>action_required', 'payment_pending>charged', 'payment_pending>declined', 'payment_pending>delivering', 'payment_pending>due', 'payment_pending>failed', 'payment_pending>payment_unknown', 'payment_pending>review', 'payment_unknown>action_required', 'payment_unknown>charged', 'payment_unknown>declined', 'payment_unknown>delivering', 'payment_unknown>due', 'payment_unknown>failed', 'payment_unknown>payment_pending', 'payment_unknown>review', 'action_required>canceled', 'action_required>charged', 'action_required>declined', 'action_required>delivering', 'action_required>failed', 'action_required>payment_pending', 'action_required>payment_unknown', 'declined>canceled', 'declined>due', 'declined>failed', 'charged>delivering', 'charged>undeliverable', 'delivering>charged', 'delivering>completed', 'delivering>delivery_pending', 'delivering>delivery_unknown', 'delivering>undeliverable', 'delivery_pending>charged', 'delivery_pending>completed', 'delivery_pending>delivery_unknown', 'delivery_pending>undeliverable', 'delivery_unknown>charged', 'delivery_unknown>completed', 'delivery_unknown>delivery_pending', 'delivery_unknown>undeliverable', 'undeliverable>charged', 'undeliverable>refunding', 'completed>refunding', 'completed>reversed', 'reversed>charged', 'reversed>refunding', 'refunding>completed', 'refunding>refunded', 'refunding>reversed', 'refunding>undeliverable']) THEN
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

APPEND_ONLY = """
CREATE OR REPLACE FUNCTION keepline_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append only: correct it with a new row', TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END $$;

DROP TRIGGER IF EXISTS append_only ON billing_transfer;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_transfer
  FOR EACH STATEMENT EXECUTE FUNCTION keepline_append_only();

DROP TRIGGER IF EXISTS append_only ON billing_rechargemove;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_rechargemove
  FOR EACH STATEMENT EXECUTE FUNCTION keepline_append_only();

DROP TRIGGER IF EXISTS append_only ON billing_railcall;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_railcall
  FOR EACH STATEMENT EXECUTE FUNCTION keepline_append_only();

DROP TRIGGER IF EXISTS append_only ON billing_consent;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_consent
  FOR EACH STATEMENT EXECUTE FUNCTION keepline_append_only();

DROP TRIGGER IF EXISTS append_only ON billing_decision;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_decision
  FOR EACH STATEMENT EXECUTE FUNCTION keepline_append_only();

DROP TRIGGER IF EXISTS append_only ON lines_carriercall;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON lines_carriercall
  FOR EACH STATEMENT EXECUTE FUNCTION keepline_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("lines", "0001_initial")]
    operations = [
        migrations.RunSQL(LEGAL_MOVES, migrations.RunSQL.noop),
        migrations.RunSQL(APPEND_ONLY, migrations.RunSQL.noop),
    ]
