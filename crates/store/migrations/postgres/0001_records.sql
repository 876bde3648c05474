-- The tables as SQLite has them (../sqlite, with the reasons), in PostgreSQL's types. Texts are compared byte by byte,
-- as there: ids are ordered by time that way.

CREATE TABLE projects (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    name       TEXT COLLATE "C" NOT NULL UNIQUE,
    quota      TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);
INSERT INTO projects VALUES ('project_00000000000000000000000000000000', 'local', '{}', 0);

CREATE TABLE datasets (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    problem    TEXT COLLATE "C",
    hash       TEXT COLLATE "C",
    summary    TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    labels TEXT COLLATE "C" NOT NULL,
    project TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX datasets_by_project ON datasets (project, id);

CREATE TABLE tasks (
    id             TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    spec           TEXT COLLATE "C" NOT NULL,
    dataset        TEXT COLLATE "C" NOT NULL REFERENCES datasets (id),
    state          TEXT COLLATE "C" NOT NULL,
    reason         TEXT COLLATE "C",
    budget_seconds DOUBLE PRECISION,
    budget_trials  BIGINT,
    spent_seconds  DOUBLE PRECISION NOT NULL,
    created_at     BIGINT NOT NULL,
    started_at     BIGINT,
    ended_at       BIGINT,
    best_model     TEXT COLLATE "C",
    project TEXT COLLATE "C" NOT NULL
);
CREATE INDEX tasks_by_dataset ON tasks (dataset);
CREATE INDEX tasks_by_state ON tasks (state);
CREATE INDEX tasks_by_project ON tasks (project, id);

CREATE TABLE trials (
    id            TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    task          TEXT COLLATE "C" NOT NULL REFERENCES tasks (id),
    number        BIGINT NOT NULL,
    genome        TEXT COLLATE "C" NOT NULL,
    cost          TEXT COLLATE "C" NOT NULL,
    state         TEXT COLLATE "C" NOT NULL,
    rung          BIGINT NOT NULL,
    target_epochs BIGINT NOT NULL,
    epochs        BIGINT NOT NULL,
    deaths        BIGINT NOT NULL,
    token         BIGINT NOT NULL,
    worker        TEXT COLLATE "C",
    heartbeat_at  BIGINT,
    reason        TEXT COLLATE "C",
    checkpoint    TEXT COLLATE "C",
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    UNIQUE (task, number)
);
CREATE INDEX trials_running ON trials (heartbeat_at) WHERE state = 'running';
CREATE INDEX trials_waiting ON trials (updated_at) WHERE state = 'waiting';

CREATE TABLE rungs (
    trial             TEXT COLLATE "C" NOT NULL REFERENCES trials (id),
    rung              BIGINT NOT NULL,
    epochs            BIGINT NOT NULL,
    value             DOUBLE PRECISION NOT NULL,
    metrics           TEXT COLLATE "C" NOT NULL,
    train_loss        DOUBLE PRECISION NOT NULL,
    seconds           DOUBLE PRECISION NOT NULL,
    images_per_second DOUBLE PRECISION NOT NULL,
    finished_at       BIGINT NOT NULL,
    PRIMARY KEY (trial, rung)
);

CREATE TABLE models (
    id            TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    task          TEXT COLLATE "C" NOT NULL REFERENCES tasks (id),
    trial         TEXT COLLATE "C" NOT NULL REFERENCES trials (id),
    rung          BIGINT NOT NULL,
    value         DOUBLE PRECISION NOT NULL,
    test_value    DOUBLE PRECISION NOT NULL,
    parameters    BIGINT NOT NULL,
    weights_bytes BIGINT NOT NULL,
    macs          BIGINT NOT NULL,
    ram_bytes     BIGINT NOT NULL,
    latency_ms    DOUBLE PRECISION NOT NULL,
    card          TEXT COLLATE "C" NOT NULL,
    files         TEXT COLLATE "C" NOT NULL,
    created_at    BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    bytes BIGINT NOT NULL DEFAULT 0,
    UNIQUE (trial, rung)
);
CREATE INDEX models_by_task ON models (task, created_at, id);

CREATE TABLE events (
    id   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task TEXT COLLATE "C" NOT NULL REFERENCES tasks (id),
    kind TEXT COLLATE "C" NOT NULL,
    data TEXT COLLATE "C" NOT NULL,
    at   BIGINT NOT NULL
);
CREATE INDEX events_by_task ON events (task, id);

CREATE TABLE workers (
    name       TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    pid        BIGINT NOT NULL,
    device     TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    trial      TEXT COLLATE "C"
);

CREATE TABLE idempotency (
    scope      TEXT COLLATE "C" NOT NULL,
    key        TEXT COLLATE "C" NOT NULL,
    body_hash  TEXT COLLATE "C" NOT NULL,
    status     BIGINT,
    headers    TEXT COLLATE "C",
    body       BYTEA,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

CREATE TABLE fleets (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    spec       TEXT COLLATE "C" NOT NULL,
    dataset    TEXT COLLATE "C" NOT NULL REFERENCES datasets (id),
    created_at BIGINT NOT NULL,
    project TEXT COLLATE "C" NOT NULL
);
CREATE INDEX fleets_by_project ON fleets (project, id);

CREATE TABLE fleet_members (
    fleet TEXT COLLATE "C" NOT NULL REFERENCES fleets (id),
    place BIGINT NOT NULL,
    task  TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES tasks (id),
    class TEXT COLLATE "C",
    PRIMARY KEY (fleet, place)
);

CREATE TABLE analyses (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    subject    TEXT COLLATE "C" NOT NULL,
    options    TEXT COLLATE "C" NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C",
    progress   DOUBLE PRECISION NOT NULL,
    deaths     BIGINT NOT NULL,
    summary    TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX analyses_by_subject ON analyses (subject, kind);
CREATE INDEX analyses_open ON analyses (id) WHERE state IN ('waiting', 'running');

CREATE TABLE drafts (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    labels     TEXT COLLATE "C" NOT NULL,
    classes    TEXT COLLATE "C" NOT NULL,
    parent     TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    project TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX drafts_by_project ON drafts (project, id);

CREATE TABLE draft_examples (
    draft        TEXT COLLATE "C" NOT NULL REFERENCES drafts (id),
    number       BIGINT NOT NULL,
    path         TEXT COLLATE "C" NOT NULL,
    sha256       TEXT COLLATE "C" NOT NULL,
    pack         TEXT COLLATE "C" NOT NULL,
    start        BIGINT NOT NULL,
    bytes        BIGINT NOT NULL,
    width        BIGINT NOT NULL,
    height       BIGINT NOT NULL,
    split        TEXT COLLATE "C",
    state        TEXT COLLATE "C" NOT NULL,
    label        TEXT COLLATE "C",
    suggestion   TEXT COLLATE "C",
    doubt        DOUBLE PRECISION,
    suggested_by TEXT COLLATE "C",
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (draft, number),
    UNIQUE (draft, path)
);
CREATE INDEX draft_examples_by_state ON draft_examples (draft, state, number);

CREATE TABLE access_keys (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    project    TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    scope      TEXT COLLATE "C" NOT NULL,
    hash       TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE spent (
    project TEXT COLLATE "C" NOT NULL,
    day     BIGINT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (project, day)
);

CREATE TABLE uploads (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    dataset    TEXT COLLATE "C" NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
    bytes      BIGINT NOT NULL,
    part_bytes BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX uploads_by_dataset ON uploads (dataset);

CREATE TABLE upload_parts (
    upload TEXT COLLATE "C" NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    bytes  BIGINT NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (upload, number)
);

CREATE TABLE webhooks (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    project    TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    url        TEXT COLLATE "C" NOT NULL,
    secret     TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX webhooks_by_project ON webhooks (project);

CREATE TABLE deliveries (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook  TEXT COLLATE "C" NOT NULL REFERENCES webhooks (id),
    event    BIGINT NOT NULL REFERENCES events (id),
    state    TEXT COLLATE "C" NOT NULL,
    failures BIGINT NOT NULL,
    reason   TEXT COLLATE "C",
    next_at  BIGINT NOT NULL
);
CREATE INDEX deliveries_due ON deliveries (next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_by_webhook ON deliveries (webhook, id);

CREATE TABLE duties (
    duty   TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    holder TEXT COLLATE "C" NOT NULL,
    until  BIGINT NOT NULL
);

-- SQLite's function of this name, for lists of words and numbers given as JSON, so that a query is written once.
CREATE FUNCTION json_each(list TEXT) RETURNS TABLE (value TEXT) LANGUAGE sql IMMUTABLE STRICT AS
    $$ SELECT json_array_elements_text(list::json) $$;
