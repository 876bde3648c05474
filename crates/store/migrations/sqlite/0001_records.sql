-- Times are Unix milliseconds. Words (states, kinds) and ids are as in JSON; larger values are JSON.

CREATE TABLE datasets (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    state      TEXT NOT NULL,
    problem    TEXT,
    hash       TEXT,
    summary    TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE tasks (
    id             TEXT PRIMARY KEY NOT NULL,
    spec           TEXT NOT NULL,
    dataset        TEXT NOT NULL REFERENCES datasets (id),
    state          TEXT NOT NULL,
    reason         TEXT,
    -- NULL: not limited.
    budget_seconds REAL,
    budget_trials  INTEGER,
    spent_seconds  REAL NOT NULL,
    created_at     INTEGER NOT NULL,
    started_at     INTEGER,
    ended_at       INTEGER,
    best_model     TEXT
) STRICT;
CREATE INDEX tasks_by_dataset ON tasks (dataset);
CREATE INDEX tasks_by_state ON tasks (state);

CREATE TABLE trials (
    id            TEXT PRIMARY KEY NOT NULL,
    task          TEXT NOT NULL REFERENCES tasks (id),
    number        INTEGER NOT NULL,
    genome        TEXT NOT NULL,
    cost          TEXT NOT NULL,
    state         TEXT NOT NULL,
    rung          INTEGER NOT NULL,
    target_epochs INTEGER NOT NULL,
    epochs        INTEGER NOT NULL,
    deaths        INTEGER NOT NULL,
    token         INTEGER NOT NULL,
    worker        TEXT,
    heartbeat_at  INTEGER,
    reason        TEXT,
    checkpoint    TEXT,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    UNIQUE (task, number)
) STRICT;
-- The scheduler looks for these at every step; few trials are in either state at once.
CREATE INDEX trials_running ON trials (heartbeat_at) WHERE state = 'running';
CREATE INDEX trials_waiting ON trials (updated_at) WHERE state = 'waiting';

CREATE TABLE rungs (
    trial             TEXT NOT NULL REFERENCES trials (id),
    rung              INTEGER NOT NULL,
    epochs            INTEGER NOT NULL,
    value             REAL NOT NULL,
    metrics           TEXT NOT NULL,
    train_loss        REAL NOT NULL,
    seconds           REAL NOT NULL,
    images_per_second REAL NOT NULL,
    finished_at       INTEGER NOT NULL,
    PRIMARY KEY (trial, rung)
) STRICT;

CREATE TABLE models (
    id            TEXT PRIMARY KEY NOT NULL,
    task          TEXT NOT NULL REFERENCES tasks (id),
    trial         TEXT NOT NULL REFERENCES trials (id),
    rung          INTEGER NOT NULL,
    value         REAL NOT NULL,
    test_value    REAL NOT NULL,
    parameters    INTEGER NOT NULL,
    weights_bytes INTEGER NOT NULL,
    macs          INTEGER NOT NULL,
    ram_bytes     INTEGER NOT NULL,
    latency_ms    REAL NOT NULL,
    card          TEXT NOT NULL,
    files         TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    UNIQUE (trial, rung)
) STRICT;
CREATE INDEX models_by_task ON models (task, created_at, id);

-- AUTOINCREMENT, so that an id is never used twice even if the last events were removed: a client that
-- asks for what came after an id must not miss any.
CREATE TABLE events (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    task TEXT NOT NULL REFERENCES tasks (id),
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    at   INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_task ON events (task, id);

CREATE TABLE workers (
    name       TEXT PRIMARY KEY NOT NULL,
    pid        INTEGER NOT NULL,
    device     TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    trial      TEXT
) STRICT;

CREATE TABLE idempotency (
    scope      TEXT NOT NULL,
    key        TEXT NOT NULL,
    body_hash  TEXT NOT NULL,
    -- NULL while the request is being worked on.
    status     INTEGER,
    headers    TEXT,
    body       BLOB,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT;
CREATE INDEX idempotency_by_age ON idempotency (created_at);
