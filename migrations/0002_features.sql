-- Feed-forward features: what each promotes, and its numbers.

CREATE TABLE features (
    layer     INTEGER NOT NULL,
    feature   INTEGER NOT NULL,
    expert    INTEGER,                 -- mixture-of-experts models only
    token     TEXT NOT NULL,           -- the token it promotes most
    token_id  INTEGER NOT NULL,
    score     REAL NOT NULL,           -- E·down for that token
    gate_norm REAL NOT NULL,
    up_norm   REAL,
    down_norm REAL NOT NULL,
    relation     TEXT,
    label_source TEXT,                 -- probe, cluster or pattern
    PRIMARY KEY (layer, feature)
) WITHOUT ROWID;
CREATE INDEX features_by_token ON features (token);
CREATE INDEX features_by_relation ON features (relation) WHERE relation IS NOT NULL;

CREATE TABLE feature_tokens (
    layer    INTEGER NOT NULL,
    feature  INTEGER NOT NULL,
    rank     INTEGER NOT NULL,         -- 1 to 10, by score, ties by lower token_id
    token_id INTEGER NOT NULL,
    score    REAL NOT NULL,            -- E·down with the input embedding E
    PRIMARY KEY (layer, feature, rank)
) WITHOUT ROWID;
CREATE INDEX feature_tokens_by_token ON feature_tokens (token_id);

-- One row is one feature: BLOBs of `hidden_size` numbers in the dtype that `tensors` states for the tensor.
CREATE TABLE feature_vectors (
    layer   INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    gate    BLOB,
    up      BLOB,
    down    BLOB,
    PRIMARY KEY (layer, feature)
);

-- Which features promote a token, readable without knowing token ids.
CREATE VIEW promotions AS
SELECT t.text AS token, f.layer, f.feature, f.rank, f.score, f.token_id
FROM tokens AS t JOIN feature_tokens AS f USING (token_id);
