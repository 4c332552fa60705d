"""Layer 2: the decoder: attention, feed-forward, chunked head, weights on disk."""
