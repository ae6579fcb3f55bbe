-- no-transaction
-- YugabyteDB commits each statement by itself, so every one of them may be run again.
-- A message is a batch now, which begins as an open one without a message ('null').

UPDATE messages SET status = 'sealed' WHERE status = 'intended';
UPDATE messages SET status = 'sent' WHERE status = 'pushed';
UPDATE messages SET status = 'dissolved' WHERE status = 'refused';
DROP INDEX IF EXISTS one_live_create_miner;
CREATE UNIQUE INDEX IF NOT EXISTS one_creation ON messages (kind)
    WHERE kind = 'create_miner' AND status IN ('open', 'sealed', 'sent');
