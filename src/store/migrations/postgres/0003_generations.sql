-- no-transaction
-- YugabyteDB commits each CREATE by itself, so every one of them may be run again.
-- Manifests that were in force: the texts of their files, and why each took the place of the one before.
CREATE TABLE IF NOT EXISTS generations (
    number BIGINT NOT NULL PRIMARY KEY,
    applied BIGINT NOT NULL,
    note TEXT NOT NULL,
    files TEXT NOT NULL
);
