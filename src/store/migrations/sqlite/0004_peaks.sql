-- The most memory that a stage of a sector size took on this machine.

CREATE TABLE IF NOT EXISTS peaks (
    stage TEXT NOT NULL,
    size TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (stage, size)
);
