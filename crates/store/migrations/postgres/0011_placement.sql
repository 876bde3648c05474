-- What a worker can hold, and how fast it is.

ALTER TABLE workers ADD COLUMN memory_bytes BIGINT;
ALTER TABLE workers ADD COLUMN images_per_second DOUBLE PRECISION;
