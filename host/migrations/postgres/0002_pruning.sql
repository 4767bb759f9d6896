-- How far pruning has come: one row. Whoever locks it prunes; all others pass by.
CREATE TABLE wharf_pruning (
    mark     BIGINT NOT NULL,  -- a sequence: up to here, what may go is gone
    begun_at BIGINT NOT NULL   -- when it last set out from the beginning
);
INSERT INTO wharf_pruning (mark, begun_at) VALUES (0, 0);
