"""The network: architectures, tokenizer, ONNX graphs, running them. Knows arrays, never SQL."""
