"""Trains the byte-level BPE: NFC, Qwen2's pre-tokenizer pattern, digits one by one.

    python build_tokenizer.py OUT/tokenizer.json
"""

import sys
from random import Random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from documents import OTHER_SYSTEMS, SYSTEM
from exercises import CHAT, DOMAINS, PASSAGES, PLAIN

VOCABULARY = 2560
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def training_texts(seed: int, count: int):
    """Texts of all domains and kinds, in equal parts."""
    rng = Random(f"{seed}/tokenizer")
    for _ in range(count):
        for domain in DOMAINS:
            for make in [form[domain][kind] for form in (CHAT, PLAIN) for kind in ("open", "choice", "match")]:
                yield "\n".join(make(rng))
            yield PASSAGES[domain](rng)
        yield f"system\n{SYSTEM}\nuser\nassistant\n"
    yield from OTHER_SYSTEMS * 50


def build(seed: int = 1, count: int = 3000) -> Tokenizer:
    """The trained tokenizer; the special tokens take the last three ids, as in Qwen2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - len(SPECIALS), show_progress=False, min_frequency=2,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(training_texts(seed, count), trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    return tokenizer


if __name__ == "__main__":
    made = build()
    made.save(sys.argv[1])
    print(f"{made.get_vocab_size()} tokens")
