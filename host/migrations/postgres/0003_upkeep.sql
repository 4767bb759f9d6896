-- A publication of all tables takes an UPDATE only where rows have an identity.
ALTER TABLE wharf_pruning REPLICA IDENTITY FULL;
ALTER TABLE wharf_probe REPLICA IDENTITY FULL;

-- How many are parked changes faster than the table grows; plans depend on it.
ALTER TABLE wharf_deliveries SET (autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000);
ALTER TABLE wharf_outbox SET (autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000);
