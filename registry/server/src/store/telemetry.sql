-- What was acknowledged and not yet counted: the batches of each commit, as one row.
CREATE TABLE journal (number BIGINT PRIMARY KEY, at BIGINT NOT NULL, rows BIGINT NOT NULL, body TEXT NOT NULL);

-- What a device says stands together, and its counters in one column: both make less to write.
CREATE TABLE counted (
  app TEXT NOT NULL, device TEXT NOT NULL, release_seq BIGINT NOT NULL, boot TEXT NOT NULL, arm BIGINT NOT NULL,
  counters TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (app, device, release_seq, boot)
) WITHOUT ROWID;

INSERT INTO counted (app, device, release_seq, boot, arm, counters, at)
SELECT app, device, release_seq, boot, arm,
  '[' || launches || ',' || beacons || ',' || calls || ',' || errors || ',' || slow_500 || ',' || slow_2000 || ','
  || crashes || ',' || crash_loops || ',' || kills || ']', at
FROM counters ORDER BY app, device, release_seq, boot;

DROP TABLE counters;
ALTER TABLE counted RENAME TO counters;
