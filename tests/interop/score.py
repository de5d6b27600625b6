"""galley score against the log-probabilities of the real transformers.

usage: score.py GALLEY FOLDER DATA     FOLDER: an empty one to work in; DATA: real last words and endings, if there

A GPT-2 with random weights is saved by transformers. Texts, last words and endings are scored by Galley
and, with the tokenizer of transformers and one text at a time, by torch in float64: the first as
lm-evaluation-harness's rolling log-likelihood and lambada_openai do, endings as llm.c's hellaswag.py does.
"""
import gzip
import json
import math
import os
import subprocess
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import torch
import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
GALLEY, FOLDER, DATA = sys.argv[1:4]
POSITIONS = 96
worst = 0.0


def at(name):
    return os.path.join(FOLDER, name)


def score(*arguments):
    done = subprocess.run([GALLEY, "score", at("model"), *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"galley score {' '.join(arguments)}: {done.stderr}")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return rows[:-1], rows[-1]


def same(what, found, expected, bound=1e-5):
    global worst
    error = abs(found - expected) / (1 + abs(expected))
    if not error <= bound:
        sys.exit(f"{what}: {found}, transformers says {expected}")
    worst = max(worst, error)


def write_lines(name, rows):
    with open(at(name), "w") as f:
        f.writelines(json.dumps(row) + "\n" for row in rows)
    return at(name)


def real_rows(name, count):
    path = os.path.join(DATA, "eval", name)
    if not os.path.exists(path):
        return []
    with gzip.open(path, "rt") as f:
        return [json.loads(line) for _, line in zip(range(count), f)]


# ---- a model, with the real vocabulary where it is there ----

def make_tokenizer():
    if os.path.exists(os.path.join(DATA, "gpt2")):
        files = [os.path.join(DATA, "gpt2", name) for name in ("vocab.json", "merges.txt")]
    else:
        with open(at("learn.txt"), "w") as f:
            f.write("the cat sat on the mat and the dog saw the cat\n" * 50)
        subprocess.run([GALLEY, "vocab", at("learn.txt"), "--kind", "bpe", "--size", "300", "--output",
                        at("learned")], check=True, capture_output=True)
        files = [at("learned/vocab.json"), at("learned/merges.txt")]
    vocab = json.load(open(files[0]))
    merges = [tuple(m.split()) for m in open(files[1]).read().split("\n") if m and not m.startswith("#version")]
    return transformers.GPT2Tokenizer(vocab=vocab, merges=merges)


torch.manual_seed(4)
tokenizer = make_tokenizer()
END = tokenizer.convert_tokens_to_ids("<|endoftext|>")
model = transformers.GPT2LMHeadModel(transformers.GPT2Config(
    vocab_size=len(tokenizer), n_positions=POSITIONS, n_embd=64, n_layer=3, n_head=4)).eval()
with torch.no_grad():
    for parameter in model.parameters():
        parameter.mul_(3).add_(0.02 * torch.randn_like(parameter))
os.makedirs(at("model"))
model.save_pretrained(at("model"))
tokenizer.save_pretrained(at("model"))    # tokenizer.json alone
model = model.double()


@torch.no_grad()
def log_probabilities(ids):
    """Of ids[1:], each behind those before it, and which of them are the most probable."""
    logits = model(torch.tensor([ids[:-1]])).logits[0]
    targets = torch.tensor(ids[1:])
    return (torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0].tolist(),
            (logits.argmax(-1) == targets).tolist())


def encode(text):
    return tokenizer.encode(text, add_special_tokens=False)


# ---- texts: windows as lm_eval.utils.get_rolling_token_windows and make_disjoint_window make them ----

def rolling(ids):
    out, greedy, done = [], [], 0
    while done < len(ids):
        n = min(POSITIONS, len(ids) - done)
        end = done + n
        window = ([END] + ids)[max(0, end - POSITIONS):end + 1]
        a, b = log_probabilities(window)
        out += a[-n:]
        greedy += b[-n:]
        done = end
    return out, greedy


passages = [row["text"] for row in real_rows("lambada_test.jsonl.gz", 60)]
texts = ["the cat", "", "A  Cat\nsat, on\tthe mat.  ", "na\u00efve \u4e2d\u6587 \U0001f600", *passages[:12],
         " ".join(passages[:8]) or "the cat sat on " * 60]
rows, summary = score(write_lines("texts.jsonl", [{"text": t} for t in texts]))
total = count = right = 0
for text, row in zip(texts, rows, strict=True):
    ids = encode(text)
    expected, greedy = rolling(ids)
    if row["ids"] != ids or row["bytes"] != len(text.encode()) or row["greedy"] != greedy:
        sys.exit(f"{text!r}: {row}")
    for found, truth in zip(row["log_likelihoods"], expected, strict=True):
        same(repr(text), found, truth)
    total, count, right = total + sum(expected), count + len(ids), right + sum(greedy)
same("perplexity", summary["perplexity"], math.exp(-total / count))
same("accuracy", summary["accuracy"], right / count)
same("bits per byte", summary["bits_per_byte"],
     -total / math.log(2) / sum(len(t.encode()) for t in texts))

# ---- last words ----

texts = ["the cat sat on the mat", "the cat  sat", "the dog saw the\nbig cat's"] + passages
rows, summary = score(write_lines("words.jsonl", [{"text": t} for t in texts]), "--kind", "lambada")
total = right = cut = 0
for text, row in zip(texts, rows, strict=True):
    context = text[:text.rindex(" ")].rstrip()
    whole, n = encode(text), len(encode(context))
    values, greedy = log_probabilities(whole[-(POSITIONS + 1):])
    words = len(whole) - n
    same(repr(text), row["log_likelihood"], sum(values[-words:]))
    if row["tokens"] != words or row["greedy"] != all(greedy[-words:]):
        sys.exit(f"{text!r}: {row}")
    total, right = total + sum(values[-words:]), right + all(greedy[-words:])
    cut += len(whole) > POSITIONS + 1
same("perplexity", summary["perplexity"], math.exp(-total / len(texts)))
same("accuracy", summary["accuracy"], right / len(texts))
if summary["cut"] != cut:
    sys.exit(f"{summary['cut']} texts were cut, expected {cut}")

# ---- endings ----

choices = [{"ctx": "the cat", "endings": ["sat on the mat", "and the dog", "saw", "the"], "label": 1},
           *real_rows("hellaswag_val_1000.jsonl.gz", 40)]
rows, summary = score(write_lines("endings.jsonl", choices))
right = normalised = 0
for choice, row in zip(choices, rows, strict=True):
    sums, means = [], []
    for k, ending in enumerate(choice["endings"]):
        ids, n = encode(choice["ctx"]) + encode(" " + ending), len(encode(" " + ending))
        values = log_probabilities(ids[-(POSITIONS + 1):])[0][-n:]
        sums.append(sum(values))
        means.append(sum(values) / n)
        same(choice["ctx"], row["log_likelihoods"][k], sums[-1])
    right += sums.index(max(sums)) == choice["label"]
    normalised += means.index(max(means)) == choice["label"]
same("accuracy", summary["accuracy"], right / len(choices))
same("normalised accuracy", summary["accuracy_normalised"], normalised / len(choices))
print(f"{len(rows)} choices, {len(texts)} last words, {count} tokens: relative error at most {worst:.2g}")
