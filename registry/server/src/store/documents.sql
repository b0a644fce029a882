-- States of apps were kept for ever, with their envelopes; nothing asks for one that is older than the newest.
DELETE FROM documents
WHERE app <> '' AND (epoch, seq) < (
  SELECT n.epoch, n.seq FROM documents n WHERE n.app = documents.app ORDER BY n.epoch DESC, n.seq DESC LIMIT 1 OFFSET 3
);
