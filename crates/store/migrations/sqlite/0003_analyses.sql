-- Looks at a data set or a task that train networks of their own. What they find is in a file.

CREATE TABLE analyses (
    id         TEXT PRIMARY KEY NOT NULL,
    kind       TEXT NOT NULL,
    -- The id of the data set or task.
    subject    TEXT NOT NULL,
    options    TEXT NOT NULL,
    state      TEXT NOT NULL,
    reason     TEXT,
    progress   REAL NOT NULL,
    deaths     INTEGER NOT NULL,
    summary    TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX analyses_by_subject ON analyses (subject, kind);
CREATE INDEX analyses_open ON analyses (id) WHERE state IN ('waiting', 'running');
