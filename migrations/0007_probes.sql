-- What running the model showed: each wording asked, the edges that answers make, and what wrote them.

-- What a source states, right or wrong, whatever the model says. Several targets of one entity may all be right.
CREATE TABLE facts (
    relation TEXT NOT NULL REFERENCES relations (name) ON UPDATE CASCADE ON DELETE CASCADE,
    entity   TEXT NOT NULL,
    target   TEXT NOT NULL,
    aliases  TEXT,                     -- JSON array: other spellings of the target that count as it
    source   TEXT NOT NULL,            -- the pack or file it came from
    PRIMARY KEY (relation, entity, target)
) WITHOUT ROWID;
CREATE INDEX facts_by_target ON facts (target);

-- Other names of what facts name: 'USA' finds what is known of 'United States'. Capitals do not matter.
CREATE TABLE aliases (
    alias TEXT NOT NULL COLLATE NOCASE,
    name  TEXT NOT NULL,
    PRIMARY KEY (alias, name)
) WITHOUT ROWID;
CREATE TRIGGER facts_name_aliases AFTER INSERT ON facts WHEN new.aliases IS NOT NULL BEGIN
    INSERT INTO aliases SELECT DISTINCT value COLLATE NOCASE, new.target FROM json_each(new.aliases)
    WHERE type = 'text' AND NOT EXISTS (SELECT 1 FROM aliases WHERE alias = value AND name = new.target);
END;
CREATE TRIGGER facts_change_aliases AFTER UPDATE OF aliases ON facts WHEN new.aliases IS NOT NULL BEGIN
    INSERT INTO aliases SELECT DISTINCT value COLLATE NOCASE, new.target FROM json_each(new.aliases)
    WHERE type = 'text' AND NOT EXISTS (SELECT 1 FROM aliases WHERE alias = value AND name = new.target);
END;

-- One row is one wording asked about one entity. What is here is not asked again.
CREATE TABLE probes (
    relation    TEXT NOT NULL REFERENCES relations (name) ON UPDATE CASCADE ON DELETE CASCADE,
    entity      TEXT NOT NULL,
    template    TEXT NOT NULL,
    answer      TEXT NOT NULL,         -- the whole answer, greedy, normalised; empty: nothing readable
    probability REAL NOT NULL,         -- of the whole answer after the prompt
    PRIMARY KEY (relation, entity, template)
) WITHOUT ROWID;
CREATE INDEX probes_by_entity ON probes (entity);

ALTER TABLE edge_records ADD COLUMN probability REAL;  -- of the target, mean over the wordings
ALTER TABLE edge_records ADD COLUMN agreement REAL;    -- share of the wordings that the target was the answer to
CREATE UNIQUE INDEX edge_records_probed ON edge_records (relation, entity, target) WHERE source = 'probe';
CREATE INDEX edge_records_by_name ON edge_records (entity COLLATE NOCASE) WHERE source <> 'static';
DROP INDEX edge_records_by_target;
CREATE INDEX edge_records_by_target ON edge_records (target, relation);  -- of what is Paris the capital?

-- What wrote an answer: features and attention heads by their signed share of its first token's logit.
CREATE TABLE edge_evidence (
    edge_id      INTEGER NOT NULL REFERENCES edge_records (edge_id) ON DELETE CASCADE,
    rank         INTEGER NOT NULL,     -- from 1, strongest first
    kind         TEXT NOT NULL CHECK (kind IN ('feature', 'head')),
    layer        INTEGER NOT NULL,
    number       INTEGER NOT NULL,     -- feature or head
    contribution REAL NOT NULL,        -- to the logit, mean over the wordings
    share        REAL NOT NULL,        -- of the logit
    wordings     INTEGER NOT NULL,     -- of those that gave this answer, in how many it alone came to 1 % of the logit
    PRIMARY KEY (edge_id, rank)
) WITHOUT ROWID;
CREATE INDEX edge_evidence_by_place ON edge_evidence (layer, number) WHERE kind = 'feature';

-- What a relation is asked about: an entity belongs when direction · its residual, of length 1, comes to `least`.
CREATE TABLE relation_domains (
    relation  TEXT PRIMARY KEY REFERENCES relations (name) ON UPDATE CASCADE ON DELETE CASCADE,
    layer     INTEGER NOT NULL,        -- after which the residual is looked at
    direction BLOB NOT NULL,           -- float32, hidden_size numbers, little-endian
    least     REAL NOT NULL
) WITHOUT ROWID;

-- Who helped to write an entity's best supported answer, below what edge_evidence goes to: features that add 0.3 % of
-- the logit of its first token or more in two wordings (in one, where one was asked). Labels on features rest on these.
CREATE TABLE edge_features (
    edge_id       INTEGER PRIMARY KEY REFERENCES edge_records (edge_id) ON DELETE CASCADE,
    places        BLOB NOT NULL,       -- layer · 2^20 + feature, ascending: 4 bytes each, little-endian, unsigned
    contributions BLOB NOT NULL        -- to the logit, mean over the wordings: float32 each, little-endian
);

-- Every relation that a feature serves, and how that is known.
CREATE TABLE feature_relations (
    layer    INTEGER NOT NULL,
    feature  INTEGER NOT NULL,
    relation TEXT NOT NULL,
    source   TEXT NOT NULL CHECK (source IN ('probe', 'cluster', 'pattern')),
    entities INTEGER,                  -- probe: entities of the relation it contributes to
    share    REAL NOT NULL,            -- of what the feature does for all relations, this one's part
    score    REAL NOT NULL,            -- probe: -log10 of p under shuffled relations; cluster: cosine to its centre
    PRIMARY KEY (layer, feature, relation, source)
) WITHOUT ROWID;
CREATE INDEX feature_relations_by_relation ON feature_relations (relation);

-- How sure an edge is: how often answers with such support were given again on wordings never asked.
CREATE TABLE calibration (
    bin        INTEGER PRIMARY KEY,
    confidence REAL NOT NULL,          -- mean of the bin
    observed   REAL NOT NULL,          -- share that held on a held-out wording
    edges      INTEGER NOT NULL
);

CREATE VIEW believes_wrong AS
SELECT e.entity, e.relation, e.target AS believed, f.target AS stated, e.confidence, f.source AS stated_by
FROM edge_records AS e JOIN facts AS f ON f.relation = e.relation AND f.entity = e.entity
WHERE e.source = 'probe'
  AND NOT EXISTS (
    SELECT 1 FROM facts AS any_of WHERE any_of.relation = e.relation AND any_of.entity = e.entity
      AND (any_of.target = e.target COLLATE NOCASE
           OR EXISTS (SELECT 1 FROM json_each(any_of.aliases) WHERE value = e.target COLLATE NOCASE)));
