CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE tokens (
  id TEXT PRIMARY KEY, hash TEXT NOT NULL, owner TEXT NOT NULL, roles TEXT NOT NULL, apps TEXT NOT NULL,
  publishers TEXT NOT NULL, created BIGINT NOT NULL, created_by TEXT NOT NULL, expires BIGINT, revoked BIGINT
);

CREATE TABLE audit (
  seq BIGINT PRIMARY KEY, at BIGINT NOT NULL, owner TEXT NOT NULL, token TEXT NOT NULL, action TEXT NOT NULL,
  subject TEXT NOT NULL, detail TEXT NOT NULL, hash TEXT NOT NULL
);

CREATE TABLE answers (
  token TEXT NOT NULL, idempotency_key TEXT NOT NULL, request TEXT NOT NULL, status INTEGER NOT NULL, etag TEXT,
  body TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (token, idempotency_key)
);

CREATE TABLE publishers (
  id TEXT PRIMARY KEY, root_version BIGINT NOT NULL, chain BLOB NOT NULL, registered BIGINT NOT NULL
);

CREATE TABLE apps (
  id TEXT PRIMARY KEY, publisher TEXT NOT NULL REFERENCES publishers (id), claimed BIGINT NOT NULL,
  newest_seq BIGINT NOT NULL, grant_version BIGINT NOT NULL, min_seq BIGINT NOT NULL, in_charge BIGINT
);

CREATE TABLE releases (
  app TEXT NOT NULL REFERENCES apps (id), seq BIGINT NOT NULL, version TEXT NOT NULL, sha256 TEXT NOT NULL,
  size BIGINT NOT NULL, signature BLOB NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL,
  permissions TEXT NOT NULL, review TEXT NOT NULL, review_reason TEXT, yanked TEXT, published BIGINT NOT NULL,
  published_by TEXT NOT NULL, PRIMARY KEY (app, seq)
);
CREATE INDEX releases_by_digest ON releases (sha256);

CREATE TABLE documents (
  app TEXT NOT NULL, epoch BIGINT NOT NULL, seq BIGINT NOT NULL, sha256 TEXT NOT NULL, envelope BLOB NOT NULL,
  PRIMARY KEY (app, epoch, seq)
);

CREATE TABLE rollouts (
  id BIGINT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), release_seq BIGINT NOT NULL, phase TEXT NOT NULL,
  rollout TEXT NOT NULL, targeting TEXT NOT NULL, automatic BOOLEAN NOT NULL, started BIGINT, author TEXT NOT NULL
);
CREATE INDEX rollouts_by_app ON rollouts (app, id);

CREATE TABLE kills (
  id TEXT PRIMARY KEY, place TEXT NOT NULL, kill TEXT NOT NULL, ordered_by TEXT NOT NULL, lift TEXT, lifted_by TEXT,
  number BIGINT NOT NULL
);

CREATE TABLE disabled (
  number BIGINT PRIMARY KEY, app TEXT NOT NULL REFERENCES apps (id), sha256 TEXT NOT NULL, reason TEXT NOT NULL,
  disabled_by TEXT NOT NULL, at BIGINT NOT NULL, enabled_by TEXT
);
CREATE INDEX disabled_by_app ON disabled (app, number);

CREATE TABLE approvals (
  change TEXT NOT NULL, owner TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (change, owner)
);

CREATE TABLE evidence (
  id BIGINT PRIMARY KEY, rollout BIGINT NOT NULL REFERENCES rollouts (id), at BIGINT NOT NULL,
  decision TEXT NOT NULL, action TEXT NOT NULL, body BLOB NOT NULL
);
CREATE INDEX evidence_by_rollout ON evidence (rollout, id);

CREATE TABLE counters (
  app TEXT NOT NULL, release_seq BIGINT NOT NULL, device TEXT NOT NULL, boot TEXT NOT NULL, arm BIGINT NOT NULL,
  launches BIGINT NOT NULL, beacons BIGINT NOT NULL, calls BIGINT NOT NULL, errors BIGINT NOT NULL,
  slow_500 BIGINT NOT NULL, slow_2000 BIGINT NOT NULL, crashes BIGINT NOT NULL, crash_loops BIGINT NOT NULL,
  kills BIGINT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (app, release_seq, device, boot)
) WITHOUT ROWID;

CREATE TABLE minutes (
  app TEXT NOT NULL, release_seq BIGINT NOT NULL, minute BIGINT NOT NULL,
  launches BIGINT NOT NULL, beacons BIGINT NOT NULL, calls BIGINT NOT NULL, errors BIGINT NOT NULL,
  slow_500 BIGINT NOT NULL, slow_2000 BIGINT NOT NULL, crashes BIGINT NOT NULL, crash_loops BIGINT NOT NULL,
  kills BIGINT NOT NULL, PRIMARY KEY (app, release_seq, minute)
) WITHOUT ROWID;
