"""How fast tiktoken and Hugging Face tokenizers encode the texts of bench_text, each on one thread.

usage: bench_text_peers.py VOCABULARY_FOLDER TEXT...      (bench_text runs it where python3 has them)
"""
import gzip
import json
import os
import sys
import time

os.environ["RAYON_NUM_THREADS"] = "1"
MOST_BYTES = 1 << 22


def read(path):
    if path.endswith(".zst"):
        import subprocess
        data = subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True).stdout
    else:
        data = (gzip.open if path.endswith(".gz") else open)(path, "rb").read()
    if path.endswith(".json"):
        poems = json.loads(data)
        data = "\0".join("\n".join(poem["paragraphs"]) for poem in poems).encode()
    return data[:MOST_BYTES].decode(errors="ignore")


def give(name, path, text, encode):
    start = time.perf_counter()
    tokens = len(encode(text))
    seconds = time.perf_counter() - start
    mb = len(text.encode()) / 1e6
    print(json.dumps({"bench": name, "value": round(mb / seconds, 2), "unit": "MB/s",
                      "config": f"{path}, {mb:.1f} MB, {tokens} tokens"}), flush=True)


def byte_of_characters():
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(b): b for b in keep}
    for n, b in enumerate(b for b in range(256) if b not in keep):
        table[chr(256 + n)] = b
    return table


folder, paths = sys.argv[1], sys.argv[2:]
try:
    import tiktoken
    table = byte_of_characters()
    with open(f"{folder}/vocab.json", encoding="utf-8") as f:
        ranks = {bytes(table[c] for c in k): i for k, i in json.load(f).items() if k != "<|endoftext|>"}
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    encoding = tiktoken.Encoding("gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    for path in paths:
        give("tiktoken_encode", path, read(path), encoding.encode_ordinary)
except ImportError:
    pass
try:
    import tokenizers
    hugging = tokenizers.ByteLevelBPETokenizer(f"{folder}/vocab.json", f"{folder}/merges.txt")
    for path in paths:
        give("tokenizers_encode", path, read(path), lambda text: hugging.encode(text).ids)
except ImportError:
    pass
