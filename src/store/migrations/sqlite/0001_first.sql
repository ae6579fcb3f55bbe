-- Only BIGINT and TEXT: times are milliseconds since 1970, flags are 0 or 1, amounts and identities are text,
-- payloads are JSON. The same tables are in the other folder; a test compares them.

CREATE TABLE IF NOT EXISTS sectors (
    number BIGINT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    version BIGINT NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS sectors_by_state ON sectors (state, number);

-- Append only.
CREATE TABLE IF NOT EXISTS events (
    sector BIGINT NOT NULL REFERENCES sectors (number),
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    applied BIGINT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (sector, seq)
);

-- The outbox. `pushed` keeps what a node answered, for a message that a reorganisation takes off the chain again.
CREATE TABLE IF NOT EXISTS messages (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    created BIGINT NOT NULL,
    status TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    sectors TEXT NOT NULL,
    outcome TEXT NOT NULL,
    pushed TEXT,
    message TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_by_status ON messages (status);
CREATE UNIQUE INDEX IF NOT EXISTS one_live_create_miner ON messages (kind)
    WHERE kind = 'create_miner' AND status IN ('intended', 'pushed');

-- `live` is 1 while the message may still land: one such message per sector and kind.
CREATE TABLE IF NOT EXISTS message_sectors (
    message TEXT NOT NULL REFERENCES messages (id),
    sector BIGINT NOT NULL REFERENCES sectors (number),
    kind TEXT NOT NULL,
    live BIGINT NOT NULL,
    PRIMARY KEY (message, sector)
);
CREATE UNIQUE INDEX IF NOT EXISTS one_live_message ON message_sectors (sector, kind) WHERE live = 1;
CREATE INDEX IF NOT EXISTS message_sectors_by_sector ON message_sectors (sector, message);

CREATE TABLE IF NOT EXISTS settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS durations (
    stage TEXT NOT NULL,
    size TEXT NOT NULL,
    avg_ms BIGINT NOT NULL,
    samples BIGINT NOT NULL,
    PRIMARY KEY (stage, size)
);
