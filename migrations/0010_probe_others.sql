-- What a model would have answered next: whole answers that begin with the tokens that were next most probable.

-- A JSON array of [answer, probability], the most probable first. NULL where only the greedy answer was asked for.
ALTER TABLE probes ADD COLUMN others TEXT;
