"""Layer 5: a model behind OpenAI's schema. What it is asked is text, what answers is a policy."""
