-- A digest is 32 bytes, not 64 digits: there are many done rows.
UPDATE wharf_deliveries SET digest = coalesce(unhex(digest), x'');
