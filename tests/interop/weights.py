"""Weights that Galley wrote, in the real KerasHub and transformers; and theirs, in Galley.

usage: weights.py GALLEY FOLDER       FOLDER: an empty one to work in

Models of several sizes are made by the real libraries and saved by them. Galley converts each into
every other kind; the real libraries load what it wrote: the weights must be bit for bit the same and
the logits equal to rounding. Then half precision, shards, and the way round through a checkpoint.
"""
import json
import os
import subprocess
import sys
import warnings

os.environ["KERAS_BACKEND"] = "torch"    # which transformers needs anyway
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import numpy as np
import keras
import keras_hub
import torch
import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
for noise in ("Skipping variable loading for optimizer", ".*destroy the mask"):
    warnings.filterwarnings("ignore", message=noise)
GALLEY, FOLDER = sys.argv[1], sys.argv[2]
checks = 0
worst = 0.0


def at(name):
    return os.path.join(FOLDER, name)


def galley(*arguments):
    done = subprocess.run([GALLEY, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"galley {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def convert(source, target, to, *options):
    galley("convert", source, target, "--to", to, *options)
    return target


def same_bits(name, found, expected):
    global checks
    if len(found) != len(expected):
        sys.exit(f"{name}: {len(found)} tensors, expected {len(expected)}")
    for i, (a, b) in enumerate(zip(found, expected)):
        if a.shape != b.shape or a.dtype != b.dtype or a.tobytes() != b.tobytes():
            sys.exit(f"{name}: tensor {i} ({a.shape}, {a.dtype}) is not as it was")
    checks += 1


def same_logits(name, found, expected, bound=1e-5):
    global checks, worst
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    if not error <= bound:
        sys.exit(f"{name}: the logits differ by {error:.3g}, more than {bound}")
    worst = max(worst, error)
    checks += 1


# ---- the real models ----


def byte_vocabulary():
    """A small byte-level vocabulary: all bytes, some merges, the end token last."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, n = {b: chr(b) for b in own}, 0
    for b in range(256):
        if b not in letters:
            letters[b] = chr(256 + n)
            n += 1
    merges = ["t h", "th e", "Ġ t", "a n", "an d", "i n", "e r"]
    tokens = [letters[b] for b in range(256)] + [m.replace(" ", "") for m in merges] + ["<|endoftext|>"]
    return {t: i for i, t in enumerate(tokens)}, merges


VOCABULARY, MERGES = byte_vocabulary()
V = len(VOCABULARY)


def randomize(weights):
    """Values of every size, so that a tensor in a wrong place shows."""
    rng = np.random.default_rng(1)
    return [(rng.standard_normal(w.shape) * 0.2).astype(np.asarray(w).dtype) for w in weights]


def keras_model(sizes, dtype="float32"):
    layers, heads, hidden, ffn, positions = sizes
    tokenizer = keras_hub.models.GPT2Tokenizer(vocabulary=VOCABULARY, merges=MERGES)
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=positions)
    backbone = keras_hub.models.GPT2Backbone(V, layers, heads, hidden, ffn, max_sequence_length=positions, dtype=dtype)
    backbone.set_weights(randomize(backbone.get_weights()))
    return keras_hub.models.GPT2CausalLM(backbone, preprocessor)


def hugging_face_model(sizes, bare):
    layers, heads, hidden, ffn, positions = sizes
    config = transformers.GPT2Config(vocab_size=V, n_positions=positions, n_embd=hidden, n_layer=layers, n_head=heads,
                                     n_inner=None if ffn == 4 * hidden else ffn, bos_token_id=V - 1, eos_token_id=V - 1)
    model = (transformers.GPT2Model if bare else transformers.GPT2LMHeadModel)(config).eval()
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=rng) * 0.2)
    return model


def mini_gpt(sizes):
    """KerasHub's example "GPT text generation from scratch"."""
    layers, heads, hidden, ffn, positions = sizes
    inputs = keras.layers.Input((None,), dtype="int32")
    x = keras_hub.layers.TokenAndPositionEmbedding(V, positions, hidden, mask_zero=True)(inputs)
    for _ in range(layers):
        x = keras_hub.layers.TransformerDecoder(num_heads=heads, intermediate_dim=ffn)(x)
    model = keras.Model(inputs, keras.layers.Dense(V)(x))
    model.set_weights(randomize(model.get_weights()))
    return model


def token_ids(positions):
    return np.random.default_rng(3).integers(1, V, (2, positions)).astype("int32")


def keras_logits(model, positions):
    ids = token_ids(positions)
    with torch.no_grad():
        return model({"token_ids": ids, "padding_mask": np.ones_like(ids)}).numpy()


def torch_logits(model, positions):
    with torch.no_grad():
        return model(torch.tensor(token_ids(positions)).long()).logits.float().numpy()


TEXT = "the tin and her"


def tokens(model):
    return np.asarray(model.preprocessor.tokenizer(TEXT)).tolist()


def load_keras(folder, dtype="float32"):
    return keras_hub.models.CausalLM.from_preset(folder, dtype=dtype)


def load_torch(folder, dtype=torch.float32):
    model, info = transformers.GPT2LMHeadModel.from_pretrained(folder, output_loading_info=True, dtype=dtype)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[kind]:
            sys.exit(f"{folder}: {kind} {info[kind]}")
    return model.eval()


def state(model):
    return [p.detach().numpy() for p in model.parameters()]


# ---- the checks ----

SIZES = {"even": (2, 4, 32, 128, 24), "odd": (3, 3, 24, 50, 17), "narrow": (1, 3, 20, 7, 9)}    # 20 / 3: heads of 6


def write_tokenizer(folder):
    with open(f"{folder}/vocab.json", "w") as f:
        json.dump(VOCABULARY, f, ensure_ascii=False)
    with open(f"{folder}/merges.txt", "w") as f:
        f.write("#version: 0.2\n" + "\n".join(MERGES) + "\n")


def from_keras(name, sizes):
    positions, whole = sizes[-1], sizes[2] % sizes[1] == 0
    model = keras_model(sizes)
    weights, logits = model.get_weights(), keras_logits(model, positions)
    preset = at(f"{name}-preset")
    model.save_to_preset(preset)
    model.save_weights(at(f"{name}.weights.h5"))
    model.backbone.save_weights(at(f"{name}-backbone.weights.h5"))

    run = convert(preset, at(f"{name}-run"), "galley")
    for source, to, options in ((preset, "keras", ()), (run, "keras", ()), (preset, "keras", ("--shard-megabytes", "0.05"))):
        target = convert(source, at(f"{name}-again"), to, "--overwrite", *options)
        again = load_keras(target)
        same_bits(f"{name}: {source} to {to} {options}", again.get_weights(), weights)
        same_logits(f"{name}: {source} to {to} {options}", keras_logits(again, positions), logits)
        if tokens(again) != tokens(model):
            sys.exit(f"{name}: the tokenizer is not what it was")
    for source in (run, at(f"{name}.weights.h5"), at(f"{name}-backbone.weights.h5")):
        target = convert(source, at(f"{name}-again.weights.h5"), "weights-h5", "--overwrite")
        again = keras_model(sizes)
        again.set_weights([0 * w for w in again.get_weights()])
        again.load_weights(target)
        same_bits(f"{name}: {source} to weights-h5", again.get_weights(), weights)
    for options in ((), ("--shard-megabytes", "0.05")) if whole else ():
        target = convert(run, at(f"{name}-hf"), "huggingface", "--overwrite", *options)
        same_logits(f"{name}: to huggingface {options}", torch_logits(load_torch(target), positions), logits)
        if transformers.GPT2Tokenizer.from_pretrained(target)(TEXT)["input_ids"] != tokens(model):
            sys.exit(f"{name}: the tokenizer is not what it was in Hugging Face")


def from_hugging_face(name, sizes, bare):
    positions = sizes[-1]
    model = hugging_face_model(sizes, bare)
    source = at(f"{name}-source")
    model.save_pretrained(source, max_shard_size="50KB" if bare else "1GB")
    write_tokenizer(source)
    lm = model if not bare else load_torch(source)
    logits = torch_logits(lm, positions)
    run = convert(source, at(f"{name}-run"), "galley")
    for origin in (source, run):
        again = load_torch(convert(origin, at(f"{name}-again"), "huggingface", "--overwrite"))
        same_bits(f"{name}: {origin} to huggingface", state(again), state(lm))
        same_logits(f"{name}: {origin} to huggingface", torch_logits(again, positions), logits)
    again = load_keras(convert(run, at(f"{name}-keras"), "keras"))
    same_logits(f"{name}: to keras", keras_logits(again, positions), logits)


def from_mini_gpt(name, sizes):
    model = mini_gpt(sizes)
    weights, source = model.get_weights(), at(f"{name}.weights.h5")
    ids = token_ids(sizes[-1])
    logits = model(ids).detach().numpy()
    model.save_weights(source)
    vocabulary = at(f"{name}.vocabulary.txt")
    with open(vocabulary, "w") as f:
        f.write("[PAD]\n[UNK]\n[BOS]\n" + "\n".join(f"w{i}" for i in range(V - 3)) + "\n")
    run = convert(source, at(f"{name}-run"), "galley", "--tokenizer", vocabulary)
    for origin in (source, run):
        again = mini_gpt(sizes)
        again.set_weights([0 * w for w in weights])
        again.load_weights(convert(origin, at(f"{name}-again.weights.h5"), "weights-h5", "--overwrite"))
        same_bits(f"{name}: {origin}", again.get_weights(), weights)
        same_logits(f"{name}: {origin}", again(ids).detach().numpy(), logits)


def bits(tensor):
    """Numpy has no bfloat16."""
    return tensor.detach().view(torch.int16).numpy()


def half_precision(name, sizes):
    """What is half in a file is the nearest half of what was whole, and comes back as it is."""
    model = keras_model(sizes)
    model.save_to_preset(at(f"{name}-preset"))
    for dtype, word in ((torch.float16, "fp16"), (torch.bfloat16, "bf16")):
        halves = [bits(torch.tensor(w).to(dtype)) for w in model.get_weights()]
        once = convert(at(f"{name}-preset"), at(f"{name}-{word}"), "keras", "--dtype", word)
        run = convert(once, at(f"{name}-{word}-run"), "galley")
        twice = convert(run, at(f"{name}-{word}-again"), "keras", "--dtype", word)
        for folder in (once, twice):
            again = load_keras(folder, str(dtype).removeprefix("torch."))
            same_bits(folder, [bits(w.value) for w in again.weights], halves)
        folder = convert(run, at(f"{name}-{word}-hf"), "huggingface", "--dtype", word)
        same_bits(folder, [bits(load_torch(folder, dtype).transformer.wte.weight)], halves[:1])


for name, sizes in SIZES.items():
    from_keras(name, sizes)
    from_mini_gpt(f"mini-{name}", sizes)
    if sizes[2] % sizes[1] == 0:
        from_hugging_face(f"hf-{name}", sizes, bare=False)
        from_hugging_face(f"hf-bare-{name}", sizes, bare=True)
half_precision("half", SIZES["odd"])
print(f"{checks} comparisons with keras {keras.__version__}, keras-hub {keras_hub.__version__}, transformers {transformers.__version__}; "
      f"logits within {worst:.2g}")
