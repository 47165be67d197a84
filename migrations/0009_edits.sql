-- Edits: what each operation takes out of effect, how it is looked up, and what an answer to "has anything changed?" is.

-- No version before this one wrote operations. Vectors come last, so that reading the rest does not read them.
DROP TABLE patch_ops;
CREATE TABLE patch_ops (
    op_id      INTEGER PRIMARY KEY AUTOINCREMENT,   -- never used again: other operations may name it
    patch      TEXT NOT NULL REFERENCES patches (patch) ON UPDATE CASCADE ON DELETE CASCADE,
    operation  TEXT NOT NULL CHECK (operation IN ('insert', 'update', 'delete', 'insert_knn', 'delete_knn')),
    fact       INTEGER,                -- op_id of the first of the operations that belong together
    undoes     INTEGER,                -- the fact (as above) of an earlier operation that this one takes out of effect
    layer      INTEGER,
    feature    INTEGER,                -- numbered after the base's own; a delete without entity: any, the base's too
    entity     TEXT,
    relation   TEXT,
    target     TEXT,
    confidence REAL,                   -- as the statement gave it
    probability REAL,                  -- of the whole target in the first wording, when the edit was made
    least_cosine REAL,                 -- insert_knn: how near an input must be to the key
    gate       BLOB,                   -- float32, hidden_size numbers each; insert_knn: gate is the key, down the value
    up         BLOB,
    down       BLOB
);
CREATE INDEX patch_ops_by_patch ON patch_ops (patch);
CREATE INDEX patch_ops_by_fact ON patch_ops (fact);
CREATE INDEX patch_ops_by_undone ON patch_ops (undoes) WHERE undoes IS NOT NULL;
CREATE INDEX patch_ops_by_feature ON patch_ops (layer, feature);
CREATE INDEX patch_ops_by_entity ON patch_ops (entity, relation);

-- One row. Its stamp changes with every change of patches and operations, and goes back with ROLLBACK.
CREATE TABLE edit_state (
    stamp INTEGER NOT NULL,            -- 0: nothing was ever edited
    shown INTEGER NOT NULL             -- counts how often edges were brought up to date
);
INSERT INTO edit_state VALUES (0, 0);
CREATE TRIGGER patch_ops_inserted AFTER INSERT ON patch_ops BEGIN
    UPDATE patch_ops SET fact = op_id WHERE op_id = new.op_id AND fact IS NULL;
    UPDATE edit_state SET stamp = random();
END;
CREATE TRIGGER patch_ops_changed
AFTER UPDATE OF patch, operation, fact, undoes, layer, feature, entity, relation, target, least_cosine, gate, up, down
ON patch_ops BEGIN UPDATE edit_state SET stamp = random(); END;
CREATE TRIGGER patch_ops_deleted AFTER DELETE ON patch_ops BEGIN UPDATE edit_state SET stamp = random(); END;
CREATE TRIGGER patches_changed AFTER UPDATE ON patches BEGIN
    UPDATE edit_state SET stamp = random(), shown = shown + 1;
END;
CREATE TRIGGER patches_deleted AFTER DELETE ON patches BEGIN
    UPDATE edit_state SET stamp = random(), shown = shown + 1;
END;

-- What does not depend on an edit and takes long to find: text the model made itself, and what FFN inputs on it are like.
CREATE TABLE edit_background (
    what TEXT PRIMARY KEY,             -- text, moment.25 …
    data BLOB NOT NULL
) WITHOUT ROWID;

-- The operations in effect, in the order of (position, op_id).
CREATE VIEW active_ops AS
SELECT p.position, o.op_id, o.patch, o.operation, o.fact, o.undoes, o.layer, o.feature, o.entity, o.relation, o.target,
       o.confidence, o.probability, o.least_cosine, o.gate, o.up, o.down
FROM patch_ops AS o JOIN patches AS p ON p.patch = o.patch AND p.active
WHERE NOT EXISTS (
    SELECT 1 FROM patch_ops AS d JOIN patches AS q ON q.patch = d.patch AND q.active WHERE d.undoes = o.fact);

-- The facts that edits inserted: one row each, with the place of its first feature.
CREATE VIEW inserted_facts AS
SELECT op_id AS fact, patch, operation, entity, relation, target, layer, feature, confidence, probability
FROM active_ops WHERE op_id = fact AND operation IN ('insert', 'update', 'insert_knn');

-- Edges of the model's own that an edit deleted, by the fact they state or the feature they were read off.
CREATE TABLE hidden_edges (
    edge_id INTEGER PRIMARY KEY
);

-- What edits insert stands among the edges too, under the negative number of its fact.
CREATE TRIGGER edges_shown AFTER UPDATE OF shown ON edit_state BEGIN
    DELETE FROM edge_records WHERE edge_id < 0 AND -edge_id NOT IN (SELECT fact FROM inserted_facts);
    INSERT INTO edge_records (edge_id, entity, relation, target, layer, feature, confidence, probability, source)
    SELECT -fact, entity, relation, target, layer, feature, coalesce(confidence, probability), probability, 'insert'
    FROM inserted_facts WHERE true
    ON CONFLICT (edge_id) DO UPDATE SET entity = excluded.entity, relation = excluded.relation,
        target = excluded.target, layer = excluded.layer, feature = excluded.feature,
        confidence = excluded.confidence, probability = excluded.probability;
    DELETE FROM hidden_edges;
    INSERT INTO hidden_edges
    SELECT e.edge_id FROM active_ops AS d JOIN edge_records AS e
      ON e.entity = d.entity AND e.relation = d.relation AND e.target = d.target AND e.source <> 'insert'
    WHERE d.operation = 'delete' AND d.undoes IS NULL
    UNION
    SELECT e.edge_id FROM active_ops AS d JOIN edge_records AS e
      ON e.layer = d.layer AND e.feature = d.feature AND e.source = 'static'
    WHERE d.operation = 'delete' AND d.entity IS NULL;
END;

DROP VIEW model_graph;
DROP VIEW edges;
CREATE VIEW edges AS
SELECT entity, relation, target, layer, feature, score, confidence, source FROM edge_records
WHERE edge_id NOT IN hidden_edges;

CREATE VIEW model_graph AS
SELECT entity AS subject, relation AS relationship, target AS object, confidence, source FROM edges;
