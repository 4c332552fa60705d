"""Documents, conversations, the tokenizer and the one chat-template renderer; no torch."""
