-- Saved traces: how an answer formed, layer by layer. And what traces of the model's own say about its layers.

CREATE TABLE traces (
    trace       TEXT PRIMARY KEY,
    prompt      TEXT NOT NULL,
    answer      TEXT,                  -- the text that was followed; NULL: the most probable token
    positions   TEXT NOT NULL,         -- last or all
    fingerprint TEXT NOT NULL,         -- of the model it was made with
    created_at  TEXT NOT NULL          -- UTC, ISO 8601
) WITHOUT ROWID;

CREATE TABLE trace_layers (
    trace       TEXT NOT NULL REFERENCES traces (trace) ON UPDATE CASCADE ON DELETE CASCADE,
    layer       INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    token       TEXT NOT NULL,         -- the token that is followed
    rank        INTEGER NOT NULL,      -- by the logit lens, from 1
    probability REAL NOT NULL,
    attn        REAL,                  -- shares of the token's final logit; NULL unless decomposed
    ffn         REAL,
    residual    REAL NOT NULL,
    who         TEXT NOT NULL,         -- attention or ffn: which moved the token more
    embedding   REAL NOT NULL,
    lens_token  TEXT NOT NULL,         -- the most probable token after the layer
    lens_probability REAL NOT NULL,
    "read"      TEXT NOT NULL,         -- the prompt's token at the position
    PRIMARY KEY (trace, position, layer)
) WITHOUT ROWID;

-- The evidence for bands found by tracing; NULL where that was not done.
ALTER TABLE layers ADD COLUMN answers_read REAL;  -- share of facts whose answer the last position tells from the others
ALTER TABLE layers ADD COLUMN knockout REAL;      -- share of the answer's margin lost without one block at the subject
