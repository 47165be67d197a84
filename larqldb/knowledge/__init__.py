"""What the model knows, found by running it: relation packs, probes, edges with their evidence, labels on features."""
