-- A digest is 32 bytes, not 64 digits: there are many done rows.
ALTER TABLE wharf_deliveries ALTER COLUMN digest TYPE BYTEA USING decode(digest, 'hex');
