-- Edits: every change to the model is rows of its own, under a patch.

CREATE TABLE patches (
    patch            TEXT PRIMARY KEY,
    position         INTEGER NOT NULL UNIQUE,   -- the order in which patches act
    active           INTEGER NOT NULL,
    description      TEXT,
    base_fingerprint TEXT NOT NULL,
    created_at       TEXT NOT NULL              -- UTC, ISO 8601
) WITHOUT ROWID;

CREATE TABLE patch_ops (
    op_id      INTEGER PRIMARY KEY,
    patch      TEXT NOT NULL REFERENCES patches (patch) ON UPDATE CASCADE ON DELETE CASCADE,
    operation  TEXT NOT NULL CHECK (operation IN ('insert', 'update', 'delete', 'insert_knn', 'delete_knn')),
    layer      INTEGER,
    feature    INTEGER,                -- numbered after the base's own
    entity     TEXT,
    relation   TEXT,
    target     TEXT,
    confidence REAL,
    gate       BLOB,                   -- float32, hidden_size numbers each
    up         BLOB,
    down       BLOB
);
CREATE INDEX patch_ops_by_feature ON patch_ops (layer, feature);
CREATE INDEX patch_ops_by_entity ON patch_ops (entity, relation);
