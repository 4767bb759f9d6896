-- What was found to wait behind an earlier one of its subject or lane: it leaves the index of what is
-- due, so that a claim looks at a million of them once and not each time. 1 until its turn has come.
ALTER TABLE wharf_deliveries ADD COLUMN behind INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wharf_outbox ADD COLUMN behind INTEGER NOT NULL DEFAULT 0;
DROP INDEX wharf_deliveries_due;
DROP INDEX wharf_outbox_due;
CREATE INDEX wharf_deliveries_due ON wharf_deliveries (next_attempt_at, sequence)
    WHERE status = 'parked' AND behind = 0;
CREATE INDEX wharf_outbox_due ON wharf_outbox (next_attempt_at, sequence)
    WHERE status = 'waiting' AND behind = 0;
CREATE INDEX wharf_deliveries_behind ON wharf_deliveries (component, subject, sequence)
    WHERE status = 'parked' AND behind = 1;
CREATE INDEX wharf_outbox_behind ON wharf_outbox (lane, sequence)
    WHERE status = 'waiting' AND behind = 1;
