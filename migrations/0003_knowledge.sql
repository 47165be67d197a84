-- What the model knows, as far as something has shown it.

CREATE TABLE entities (
    entity     TEXT PRIMARY KEY,
    layer      INTEGER,                -- where the strongest evidence is
    features   INTEGER NOT NULL,       -- features that promote the entity's name among their ten tokens
    edges      INTEGER NOT NULL DEFAULT 0,
    score      REAL,
    confidence REAL
) WITHOUT ROWID;

CREATE TABLE relations (
    name        TEXT PRIMARY KEY,
    description TEXT,
    source      TEXT                   -- static, probe, user, …
);

CREATE TABLE relation_templates (
    relation TEXT NOT NULL REFERENCES relations (name) ON UPDATE CASCADE ON DELETE CASCADE,
    template TEXT NOT NULL CHECK (instr(template, '{entity}') > 0),
    PRIMARY KEY (relation, template)
) WITHOUT ROWID;

CREATE TABLE edge_records (
    edge_id    INTEGER PRIMARY KEY,
    entity     TEXT NOT NULL,
    relation   TEXT NOT NULL,
    target     TEXT NOT NULL,
    layer      INTEGER,
    feature    INTEGER,
    score      REAL,
    confidence REAL,                   -- NULL where nothing was run to confirm it
    source     TEXT NOT NULL           -- static: read off the weights
);
CREATE INDEX edge_records_by_entity ON edge_records (entity, relation);
CREATE INDEX edge_records_by_target ON edge_records (target);
CREATE INDEX edge_records_by_relation ON edge_records (relation);
CREATE INDEX edge_records_by_feature ON edge_records (layer, feature);

CREATE VIEW edges AS
SELECT entity, relation, target, layer, feature, score, confidence, source FROM edge_records;

CREATE VIEW model_graph AS
SELECT entity AS subject, relation AS relationship, target AS object, confidence, source FROM edges;
