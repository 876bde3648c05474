-- Files that take long are added to a model once its study is over: a new folder, a new card, and the number that names them.
ALTER TABLE models ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
