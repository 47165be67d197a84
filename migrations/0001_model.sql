-- A model as it came: its properties, its files, its tensors and its vocabulary.

CREATE TABLE model (
    key   TEXT PRIMARY KEY,
    value                              -- text, integer or real, as fits the key
) WITHOUT ROWID;

CREATE TABLE files (
    name    TEXT PRIMARY KEY,          -- config.json, tokenizer.json, …
    content BLOB NOT NULL
);

-- Hugging Face names and [out, in] orientation, whatever the source's format.
CREATE TABLE tensors (
    name    TEXT PRIMARY KEY,
    dtype   TEXT NOT NULL,             -- F32, F16 or BF16, as safetensors writes them
    shape   TEXT NOT NULL,             -- JSON array
    layer   INTEGER,
    role    TEXT NOT NULL,             -- embed, attn_q, gate, down, …
    storage TEXT NOT NULL CHECK (storage IN ('chunks', 'features', 'absent')),
    sha256  TEXT NOT NULL,             -- of the tensor's bytes in [out, in] order, little-endian
    quantisation TEXT,                 -- the source's block format where it was dequantised (Q4_1, Q6_K, …)
    rounding REAL                      -- largest error of rounding a dequantised number to dtype
) WITHOUT ROWID;
CREATE INDEX tensors_by_role ON tensors (role, layer);

CREATE TABLE tensor_chunks (
    tensor TEXT NOT NULL REFERENCES tensors (name),
    chunk  INTEGER NOT NULL,           -- from 0; chunks in order are the tensor's bytes
    data   BLOB NOT NULL,
    PRIMARY KEY (tensor, chunk)
);

CREATE TABLE layers (
    layer     INTEGER PRIMARY KEY,
    band      TEXT NOT NULL CHECK (band IN ('syntax', 'knowledge', 'output')),
    features  INTEGER NOT NULL,
    labelled  INTEGER NOT NULL DEFAULT 0,   -- features that have a relation
    gate_norm REAL NOT NULL,           -- mean L2 norm of the layer's gate vectors
    up_norm   REAL,
    down_norm REAL NOT NULL,
    alignment REAL NOT NULL,           -- mean over features of the best cos(down, token embedding)
    spread    REAL NOT NULL            -- different tokens among the features' first tokens, per feature
);

CREATE TABLE tokens (
    token_id INTEGER PRIMARY KEY,
    text     TEXT NOT NULL,            -- what the token adds to a text, e.g. ' Paris'
    piece    TEXT NOT NULL,            -- the vocabulary's own spelling, e.g. 'ĠParis'
    special  INTEGER NOT NULL
);
CREATE INDEX tokens_by_text ON tokens (text);

-- One row in a file that larqldb wrote in one go: its checksum as a whole, good until something is written to it.
CREATE TABLE seal (
    seal TEXT NOT NULL                 -- change counter (10 digits), a space, SHA-256 with this digest as zeros
);
