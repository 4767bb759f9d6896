-- How far pruning has come: one row.
CREATE TABLE wharf_pruning (
    mark     INTEGER NOT NULL,  -- a sequence: up to here, what may go is gone
    begun_at INTEGER NOT NULL   -- when it last set out from the beginning
);
INSERT INTO wharf_pruning (mark, begun_at) VALUES (0, 0);
