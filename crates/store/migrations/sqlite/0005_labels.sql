-- What a data set's labels are: classes of whole pictures, or boxes.
ALTER TABLE datasets ADD COLUMN labels TEXT NOT NULL DEFAULT 'classes';
