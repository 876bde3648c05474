-- Draft data sets: pictures that are being labelled. The pictures themselves are in packs among the files.

CREATE TABLE drafts (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    labels     TEXT NOT NULL,
    classes    TEXT NOT NULL,
    -- The data set that it began from; that may be deleted since.
    parent     TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE draft_examples (
    draft        TEXT NOT NULL REFERENCES drafts (id),
    number       INTEGER NOT NULL,
    path         TEXT NOT NULL,
    sha256       TEXT NOT NULL,
    pack         TEXT NOT NULL,
    start        INTEGER NOT NULL,
    bytes        INTEGER NOT NULL,
    width        INTEGER NOT NULL,
    height       INTEGER NOT NULL,
    split        TEXT,
    state        TEXT NOT NULL,
    label        TEXT,
    suggestion   TEXT,
    -- 0: the model that suggests is sure, 1: it knows nothing.
    doubt        REAL,
    suggested_by TEXT,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (draft, number),
    UNIQUE (draft, path)
) STRICT;
CREATE INDEX draft_examples_by_state ON draft_examples (draft, state, number);
