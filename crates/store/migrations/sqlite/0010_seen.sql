-- What is told to who runs the service, and what is to be cleared away.

ALTER TABLE workers ADD COLUMN machine TEXT NOT NULL DEFAULT '';
ALTER TABLE workers ADD COLUMN resident_bytes INTEGER;

-- Counted at each scrape of the figures.
CREATE INDEX trials_by_state ON trials (state);
-- Events are removed; each delivery of one is looked for.
CREATE INDEX deliveries_by_event ON deliveries (event);
CREATE INDEX tasks_by_end ON tasks (ended_at);

-- Things whose records are gone and whose files may still be there.
CREATE TABLE removals (
    what TEXT NOT NULL,
    id   TEXT NOT NULL,
    PRIMARY KEY (what, id)
) STRICT;

-- The rungs that were ever done, by how long they took: counted as they end, so that no figure falls when a study is
-- deleted. The last bucket is of all that took longer than the greatest bound.
CREATE TABLE rung_figures (
    rung    INTEGER NOT NULL,
    bucket  INTEGER NOT NULL,
    rungs   INTEGER NOT NULL,
    seconds REAL NOT NULL,
    speeds  REAL NOT NULL,
    PRIMARY KEY (rung, bucket)
) STRICT;
INSERT INTO rung_figures (rung, bucket, rungs, seconds, speeds)
SELECT rung,
    CASE WHEN seconds <= 0.5 THEN 0 WHEN seconds <= 1 THEN 1 WHEN seconds <= 2.5 THEN 2 WHEN seconds <= 5 THEN 3
         WHEN seconds <= 10 THEN 4 WHEN seconds <= 25 THEN 5 WHEN seconds <= 50 THEN 6 WHEN seconds <= 100 THEN 7
         WHEN seconds <= 250 THEN 8 WHEN seconds <= 500 THEN 9 WHEN seconds <= 1000 THEN 10 WHEN seconds <= 2500 THEN 11
         ELSE 12 END,
    count(*), sum(seconds), sum(images_per_second)
FROM rungs GROUP BY 1, 2;
