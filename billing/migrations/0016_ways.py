"""No dead ends: what two people may say of refunds, credits and disputes, and where that leads."""

import django.db.models.deletion
from django.db import migrations, models

# What had been refunded may come back to us, and is owed again.
LEGAL_MOVES = """
CREATE OR REPLACE FUNCTION billing_recharge_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> ALL (ARRAY['waiting', 'review', 'due']) THEN
      RAISE EXCEPTION 'a recharge cannot begin as %', NEW.state
        USING ERRCODE = 'check_violation', CONSTRAINT = 'recharge_legal_start';
    END IF;
  ELSIF (OLD.state || '>' || NEW.state) <> ALL (ARRAY['waiting>canceled', 'waiting>due', 'waiting>missed', 'waiting>review', 'review>canceled', 'review>charged', 'review>due', 'review>failed', 'review>missed', 'due>canceled', 'due>charging', 'due>failed', 'due>missed', 'due>review', 'due>waiting', 'charging>action_required', 'charging>charged', 'charging>declined', 'charging>delivering', 'charging>due', 'charging>failed', 'charging>payment_pending', 'charging>payment_unknown', 'charging>review', 'payment_pending>action_required', 'payment_pending>charged', 'payment_pending>declined', 'payment_pending>delivering', 'payment_pending>due', 'payment_pending>failed', 'payment_pending>payment_unknown', 'payment_pending>review', 'payment_unknown>action_required', 'payment_unknown>charged', 'payment_unknown>declined', 'payment_unknown>delivering', 'payment_unknown>due', 'payment_unknown>failed', 'payment_unknown>payment_pending', 'payment_unknown>review', 'action_required>canceled', 'action_required>charged', 'action_required>declined', 'action_required>delivering', 'action_required>failed', 'action_required>payment_pending', 'action_required>payment_unknown', 'declined>canceled', 'declined>due', 'declined>failed', 'charged>delivering', 'charged>undeliverable', 'delivering>charged', 'delivering>completed', 'delivering>delivery_pending', 'delivering>delivery_unknown', 'delivering>undeliverable', 'delivery_pending>charged', 'delivery_pending>completed', 'delivery_pending>delivery_unknown', 'delivery_pending>undeliverable', 'delivery_unknown>charged', 'delivery_unknown>completed', 'delivery_unknown>delivery_pending', 'delivery_unknown>undeliverable', 'undeliverable>charged', 'undeliverable>refunding', 'completed>refunding', 'completed>reversed', 'reversed>charged', 'reversed>refunding', 'refunding>completed', 'refunding>refunded', 'refunding>reversed', 'refunding>undeliverable', 'refunded>reversed']) THEN
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

# A dispute by its number: the one that was named, else the first that was heard of.
DISPUTES = """
UPDATE billing_settlement w SET dispute_ref = COALESCE(
  (SELECT n.dispute_ref FROM billing_inboundnotification n
   WHERE n.kind = 'dispute' AND n.our_ref = a.reference AND n.dispute_ref = w.payment_ref LIMIT 1),
  (SELECT min(n.dispute_ref) FROM billing_inboundnotification n
   WHERE n.kind = 'dispute' AND n.our_ref = a.reference), w.payment_ref)
FROM billing_paymentattempt a WHERE a.id = w.attempt_id AND w.finding = 'lost'"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0015_a_line_never_silent'),
    ]

    operations = [
        migrations.RunSQL(LEGAL_MOVES, migrations.RunSQL.noop),
        migrations.RemoveConstraint(
            model_name='settlement',
            name='settlement_names_the_payment',
        ),
        migrations.RemoveConstraint(
            model_name='settlement',
            name='settlement_finding_known',
        ),
        migrations.RemoveConstraint(
            model_name='settlement',
            name='settlement_says_how_much',
        ),
        migrations.RemoveConstraint(
            model_name='settlement',
            name='settlement_once_per_attempt',
        ),
        migrations.RemoveConstraint(
            model_name='settlement',
            name='settlement_lost_once',
        ),
        migrations.RemoveConstraint(
            model_name='transfer',
            name='transfer_kind_known',
        ),
        migrations.AddField(
            model_name='refund',
            name='given_minor',
            field=models.PositiveBigIntegerField(null=True, verbose_name='given back'),
        ),
        migrations.AddField(
            model_name='refund',
            name='given_promotion_minor',
            field=models.PositiveBigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='refund',
            name='way',
            field=models.CharField(choices=[('rail', 'by the payment rail'), ('bank', "by the payer's bank, in a dispute"), ('elsewhere', 'by another way, by hand')], db_default='rail', default='rail', max_length=9, verbose_name='way'),
        ),
        migrations.AddField(
            model_name='settlement',
            name='dispute_ref',
            field=models.CharField(blank=True, db_default='', default='', max_length=64, verbose_name='dispute'),
        ),
        migrations.AddField(
            model_name='settlement',
            name='refund',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='settlements', to='billing.refund'),
        ),
        migrations.AddField(
            model_name='statementline',
            name='dispute_ref',
            field=models.CharField(db_default='', default='', max_length=64),
        ),
        migrations.AlterField(
            model_name='notice',
            name='kind',
            field=models.CharField(choices=[('low_balance', 'low balance'), ('upcoming_charge', 'before a charge'), ('recharged', 'recharged'), ('not_recharged', 'not recharged'), ('retrying', 'declined, will retry'), ('confirming', 'confirming payment'), ('action_required', 'confirm the payment'), ('refunded', 'refunded'), ('refund_failed', 'refund that came back'), ('reversed', 'reversed by the carrier'), ('rule_on', 'auto-recharge on'), ('rule_off', 'auto-recharge off'), ('rule_paused', 'auto-recharge paused'), ('binding_ended', 'payment method ended'), ('binding_expiring', 'payment method expires soon'), ('missed', 'charge missed'), ('cap_near', 'cap nearly reached'), ('cap_reached', 'cap reached'), ('falls_short', 'one recharge is not enough'), ('number_moved', 'number verified by someone else')], max_length=20, verbose_name='kind'),
        ),
        migrations.AlterField(
            model_name='settlement',
            name='finding',
            field=models.CharField(choices=[('nothing', 'nothing was taken'), ('as_agreed', 'exactly the agreed amount was taken'), ('given_back', 'something was taken, and all of it was given back'), ('lost', "the dispute is lost: the payer's bank keeps what it took back"), ('returned', 'what a lost dispute had cost was given us again'), ('unrefunded', 'nothing of the refund was given back'), ('refunded', "exactly the refund's amount was given back"), ('otherwise', "another amount than the refund's was given back"), ('paid_out', 'the payer was paid the refund by another way'), ('credited', 'the carrier has credited the line'), ('uncredited', 'the carrier has not credited the line, and will not'), ('taken_back', 'the carrier has taken the credit back'), ('not_taken', 'the carrier has not taken the credit back, and will not')], max_length=10, verbose_name='what the rail did'),
        ),
        migrations.AlterField(
            model_name='transfer',
            name='kind',
            field=models.CharField(choices=[('charge', 'charge'), ('discount', 'discount'), ('bonus', 'bonus'), ('deliver', 'delivery'), ('reverse', 'reversal by the carrier'), ('refund', 'refund'), ('refund_promotion', 'promotion returned'), ('stray', 'taken otherwise than agreed'), ('stray_returned', 'given back at the rail'), ('chargeback', "taken back by the payer's bank"), ('chargeback_returned', 'disputed money given us again'), ('refund_failed', 'refund that came back'), ('promotion_again', "promotion's part again"), ('paid_out', 'refunded by another way'), ('refund_excess', 'given back beyond the refund'), ('refund_foreign', 'given back in another currency'), ('loss_covered', 'loss covered by what was not credited'), ('refund_kept', 'refund given in another currency'), ('fee', "the rail's fee"), ('fee_returned', 'fee given back')], max_length=20, verbose_name='kind'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(('way__in', ['rail', 'bank', 'elsewhere'])), name='refund_way_known'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('given_minor__isnull', True), ('given_promotion_minor__isnull', True)), models.Q(('given_minor__gt', 0), ('given_minor__isnull', False), ('given_minor__lt', models.F('amount_minor')), ('given_promotion_minor__isnull', False), ('given_promotion_minor__lte', models.F('promotion_minor'))), _connector='OR'), name='refund_given_is_less'),
        ),
        migrations.AddConstraint(
            model_name='settlement',
            constraint=models.CheckConstraint(condition=models.Q(('finding__in', ['nothing', 'as_agreed', 'given_back', 'lost', 'returned', 'unrefunded', 'refunded', 'otherwise', 'paid_out', 'credited', 'uncredited', 'taken_back', 'not_taken'])), name='settlement_finding_known'),
        ),
        migrations.AddConstraint(
            model_name='settlement',
            constraint=models.CheckConstraint(condition=models.Q(('finding__in', ['nothing', 'unrefunded', 'uncredited', 'not_taken']), models.Q(('payment_ref', ''), _negated=True), _connector='OR'), name='settlement_names_the_payment'),
        ),
        migrations.AddConstraint(
            model_name='settlement',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('finding', 'given_back'), ('taken_minor__gt', 0), ('taken_minor__isnull', False), models.Q(('taken_currency', ''), _negated=True), models.Q(('returned_ref', ''), _negated=True)), models.Q(('finding__in', ['lost', 'returned', 'otherwise']), ('returned_ref', ''), ('taken_minor__gt', 0), ('taken_minor__isnull', False), models.Q(('taken_currency', ''), _negated=True)), models.Q(models.Q(('finding__in', ['given_back', 'lost', 'returned', 'otherwise']), _negated=True), ('returned_ref', ''), ('taken_currency', ''), ('taken_minor__isnull', True)), _connector='OR'), name='settlement_says_how_much'),
        ),
        migrations.AddConstraint(
            model_name='settlement',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('finding__in', ['unrefunded', 'refunded', 'otherwise', 'paid_out', 'taken_back', 'not_taken']), ('refund__isnull', False)), models.Q(models.Q(('finding__in', ['unrefunded', 'refunded', 'otherwise', 'paid_out', 'taken_back', 'not_taken']), _negated=True), ('refund__isnull', True)), _connector='OR'), name='settlement_is_of_its_refund'),
        ),
        migrations.AddConstraint(
            model_name='settlement',
            constraint=models.UniqueConstraint(condition=models.Q(('finding__in', ['nothing', 'as_agreed', 'given_back']), ('state', 'approved')), fields=('attempt',), name='settlement_once_per_attempt'),
        ),
        migrations.AddConstraint(
            model_name='transfer',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['charge', 'discount', 'bonus', 'deliver', 'reverse', 'refund', 'refund_promotion', 'stray', 'stray_returned', 'chargeback', 'chargeback_returned', 'refund_failed', 'promotion_again', 'paid_out', 'refund_excess', 'refund_foreign', 'loss_covered', 'refund_kept', 'fee', 'fee_returned'])), name='transfer_kind_known'),
        ),
        migrations.RunSQL(DISPUTES, migrations.RunSQL.noop),
    ]
