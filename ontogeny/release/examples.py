"""How a model is loaded and asked, as it stands on a card. Code that runs as it is."""

from __future__ import annotations

CHAT = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

bundle = "."  # where this card lies
tokenizer = AutoTokenizer.from_pretrained(bundle)
model = AutoModelForCausalLM.from_pretrained(bundle)
messages = [{"role": "user", "content": "What is your name?"}]
ids = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)["input_ids"]
answer = model.generate(ids, max_new_tokens=32)[0, ids.shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))
```

It answers in turns. Text from strangers can spell the tokens that end a turn; encode it by
`tokenizer(text, split_special_tokens=True)` and it stays text."""
CONTINUE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

bundle = "."  # where this card lies
tokenizer = AutoTokenizer.from_pretrained(bundle)
model = AutoModelForCausalLM.from_pretrained(bundle)
text = tokenizer.eos_token + "The state of the"  # a document begins where another ended
ids = tokenizer(text, return_tensors="pt")["input_ids"]
print(tokenizer.decode(model.generate(ids, max_new_tokens=32)[0], skip_special_tokens=True))
```

It continues text. It has not learnt to answer, and its chat template is only the form in which
later stages would teach it to."""

CONTINUE_IMPORTED = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

bundle = "."  # where this card lies
tokenizer = AutoTokenizer.from_pretrained(bundle)
model = AutoModelForCausalLM.from_pretrained(bundle)
ids = tokenizer("The state of the", return_tensors="pt")["input_ids"]
print(tokenizer.decode(model.generate(ids, max_new_tokens=32)[0], skip_special_tokens=True))
```

It continues text; nothing in its files says that it learnt to answer."""
