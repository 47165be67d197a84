-- Tensors that hold several roles, one below the other, or that the model keeps [in, out].

-- The role of a fused tensor is all of its roles, joined by +: gate+up, attn_q+attn_k+attn_v.
ALTER TABLE tensors ADD COLUMN rows TEXT;  -- JSON array: of how many rows each role is; NULL for a single role
ALTER TABLE tensors ADD COLUMN transposed INTEGER NOT NULL DEFAULT 0;  -- 1: shape is [in, out]
