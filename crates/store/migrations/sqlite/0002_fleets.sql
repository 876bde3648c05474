-- Fleets: tasks on one data set that run one after another.

CREATE TABLE fleets (
    id         TEXT PRIMARY KEY NOT NULL,
    spec       TEXT NOT NULL,
    dataset    TEXT NOT NULL REFERENCES datasets (id),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE fleet_members (
    fleet TEXT NOT NULL REFERENCES fleets (id),
    -- The order in which they run, from 0.
    place INTEGER NOT NULL,
    task  TEXT NOT NULL UNIQUE REFERENCES tasks (id),
    -- NULL: the single model that tells all classes apart.
    class TEXT,
    PRIMARY KEY (fleet, place)
) STRICT;
