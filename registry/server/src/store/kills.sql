-- The order of lifts, by which documents tell the newest: a kill that is lifted last need not have been ordered last.
ALTER TABLE kills ADD COLUMN lifted BIGINT;
UPDATE kills SET lifted = before.lifted
FROM (
  SELECT id, ROW_NUMBER() OVER (ORDER BY json_extract(lift, '$.issued'), number) AS lifted
  FROM kills WHERE lift IS NOT NULL
) AS before
WHERE kills.id = before.id;

-- Rows stay for ever, and every stop asks for these.
CREATE INDEX kills_by_number ON kills (number);
CREATE INDEX kills_in_force ON kills (place, number) WHERE lift IS NULL;
CREATE INDEX kills_by_lift ON kills (lifted) WHERE lift IS NOT NULL;
CREATE INDEX kills_by_place_and_lift ON kills (place, lifted) WHERE lift IS NOT NULL;
