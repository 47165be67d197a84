-- How much of each layer the walk pulls by default, found by measuring what leaving rows out does to the answers.

CREATE TABLE walk_measurement (
    rule        TEXT NOT NULL CHECK (rule IN ('top', 'mass', 'least')),
    text        TEXT NOT NULL,         -- what it was measured on
    tokens      INTEGER NOT NULL,
    kl          REAL NOT NULL,         -- mean KL divergence from the whole network's distribution, nats per token
    agreement   REAL NOT NULL,         -- share of positions with the same most probable token
    share       REAL NOT NULL,         -- of all rows, those pulled
    measured_at TEXT NOT NULL          -- UTC, ISO 8601
);

CREATE TABLE walk_budgets (
    layer  INTEGER PRIMARY KEY,
    number REAL NOT NULL               -- rows (top), share of contributions (mass), or smallest contribution (least)
);
