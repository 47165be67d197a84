-- Evidence in half the space, how much of it decides an answer, and relations that make no sense of an entity.

CREATE TABLE evidence_compact (
    edge_id      INTEGER NOT NULL REFERENCES edge_records (edge_id) ON DELETE CASCADE,
    rank         INTEGER NOT NULL,     -- from 1, strongest first
    head         INTEGER NOT NULL CHECK (head IN (0, 1)),
    layer        INTEGER NOT NULL,
    number       INTEGER NOT NULL,     -- of the feature or head
    contribution REAL NOT NULL,        -- to the logit of the target's first token, mean over the wordings
    wordings     INTEGER NOT NULL,     -- of those that gave this answer, in how many it alone came to 1 % of the logit
    kind         TEXT GENERATED ALWAYS AS (CASE head WHEN 1 THEN 'head' ELSE 'feature' END) VIRTUAL,
    PRIMARY KEY (edge_id, rank)
) WITHOUT ROWID;
INSERT INTO evidence_compact (edge_id, rank, head, layer, number, contribution, wordings)
    SELECT edge_id, rank, kind = 'head', layer, number, contribution, wordings FROM edge_evidence;

-- The logit that contributions are shares of, mean over the wordings, and how many of the strongest pieces of evidence
-- hold up the target's lead: without these another answer is to be expected. NULL where the 32 strongest do not.
ALTER TABLE edge_records ADD COLUMN logit REAL;
ALTER TABLE edge_records ADD COLUMN decisive INTEGER;
UPDATE edge_records SET logit = (
    SELECT contribution / share FROM edge_evidence AS v WHERE v.edge_id = edge_records.edge_id AND v.rank = 1)
WHERE source = 'probe';

DROP TABLE edge_evidence;
ALTER TABLE evidence_compact RENAME TO edge_evidence;
-- What rests on a feature: the edges that it is among the strongest evidence of.
CREATE INDEX edge_evidence_by_place ON edge_evidence (layer, number) WHERE head = 0 AND rank <= 32;

-- Relations that an entity was not asked about, because they make no sense of it: nobody looks into that again.
CREATE TABLE not_asked (
    entity   TEXT NOT NULL,
    relation TEXT NOT NULL REFERENCES relation_domains (relation) ON UPDATE CASCADE ON DELETE CASCADE,
    PRIMARY KEY (entity, relation)
) WITHOUT ROWID;
