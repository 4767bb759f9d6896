-- What ran when: one row each time that another version of a component became the running one.
CREATE TABLE wharf_releases (
    sequence        INTEGER PRIMARY KEY AUTOINCREMENT,
    component       TEXT    NOT NULL,
    digest          TEXT    NOT NULL,
    version         TEXT    NOT NULL,
    bundle          BLOB,                               -- a tar; only the newest of a component keep it
    at              INTEGER NOT NULL,
    why             TEXT    NOT NULL CHECK (why IN ('start', 'build'))
);

CREATE INDEX wharf_releases_of ON wharf_releases (component, sequence);
