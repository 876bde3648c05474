-- Projects, their keys and what they use; uploads in parts; webhooks; duties of one process at a time.

CREATE TABLE projects (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL UNIQUE,
    quota      TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
-- What there was before there were projects, and what is made where there are no keys.
INSERT INTO projects VALUES ('project_00000000000000000000000000000000', 'local', '{}', 0);

ALTER TABLE datasets ADD COLUMN project TEXT NOT NULL DEFAULT 'project_00000000000000000000000000000000';
ALTER TABLE datasets ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
CREATE INDEX datasets_by_project ON datasets (project, id);
ALTER TABLE tasks ADD COLUMN project TEXT NOT NULL DEFAULT 'project_00000000000000000000000000000000';
CREATE INDEX tasks_by_project ON tasks (project, id);
ALTER TABLE fleets ADD COLUMN project TEXT NOT NULL DEFAULT 'project_00000000000000000000000000000000';
CREATE INDEX fleets_by_project ON fleets (project, id);
ALTER TABLE drafts ADD COLUMN project TEXT NOT NULL DEFAULT 'project_00000000000000000000000000000000';
ALTER TABLE drafts ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
CREATE INDEX drafts_by_project ON drafts (project, id);
ALTER TABLE models ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE models SET bytes = (SELECT coalesce(sum(value ->> 'bytes'), 0) FROM json_each(models.files));

CREATE TABLE access_keys (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    project    TEXT NOT NULL REFERENCES projects (id),
    scope      TEXT NOT NULL,
    hash       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;

-- Seconds of studies by day, counted from 1970-01-01 UTC.
CREATE TABLE spent (
    project TEXT NOT NULL,
    day     INTEGER NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (project, day)
) STRICT;

CREATE TABLE uploads (
    id         TEXT PRIMARY KEY NOT NULL,
    dataset    TEXT NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
    bytes      INTEGER NOT NULL,
    part_bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX uploads_by_dataset ON uploads (dataset);

CREATE TABLE upload_parts (
    upload TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    bytes  INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (upload, number)
) STRICT;

CREATE TABLE webhooks (
    id         TEXT PRIMARY KEY NOT NULL,
    project    TEXT NOT NULL REFERENCES projects (id),
    url        TEXT NOT NULL,
    secret     TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX webhooks_by_project ON webhooks (project);

CREATE TABLE deliveries (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook  TEXT NOT NULL REFERENCES webhooks (id),
    event    INTEGER NOT NULL REFERENCES events (id),
    state    TEXT NOT NULL,
    failures INTEGER NOT NULL,
    reason   TEXT,
    next_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX deliveries_due ON deliveries (next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_by_webhook ON deliveries (webhook, id);

CREATE TABLE duties (
    duty   TEXT PRIMARY KEY NOT NULL,
    holder TEXT NOT NULL,
    until  INTEGER NOT NULL
) STRICT;
