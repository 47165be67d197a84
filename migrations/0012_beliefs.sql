-- A belief is what some wording was answered with: answers that only came close are edges, and no beliefs.

DROP VIEW believes_wrong;
CREATE VIEW believes_wrong AS
SELECT e.entity, e.relation, e.target AS believed, f.target AS stated, e.confidence, f.source AS stated_by
FROM edge_records AS e JOIN facts AS f ON f.relation = e.relation AND f.entity = e.entity
WHERE e.source = 'probe' AND e.agreement > 0
  AND NOT EXISTS (
    SELECT 1 FROM facts AS any_of WHERE any_of.relation = e.relation AND any_of.entity = e.entity
      AND (any_of.target = e.target COLLATE NOCASE
           OR EXISTS (SELECT 1 FROM json_each(any_of.aliases) WHERE value = e.target COLLATE NOCASE)));
