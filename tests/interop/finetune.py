"""Fine-tuning on poems, by Galley on two ranks and by the real KerasHub: the same losses.

usage: finetune.py GALLEY CONFIG FOLDER POEMS...      FOLDER: an empty one to work in

A small preset of random weights is made by KerasHub, with a vocabulary learned from the poems. Galley
trains it as CONFIG says, on two ranks; KerasHub trains the same preset on the same batches with the same
settings. The losses of all steps must agree within 1e-4, in fp32. Then Galley's model goes on with a poem.

Dropout is off, for its masks differ, and the order of poems is that of the files. KerasHub's tokenizer
without TensorFlow cuts text as Llama 3 does and not as GPT-2, so that ids come from transformers' GPT-2
tokenizer; they are packed as GPT2CausalLMPreprocessor packs them.
"""
import json
import os
import subprocess
import sys

os.environ["KERAS_BACKEND"] = "torch"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import numpy as np
import keras
import keras_hub
import transformers

GALLEY, CONFIG, FOLDER, POEMS = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
STEPS, BATCH, T, BOUND = 50, 32, 128, 1e-4
LAYERS, HEADS, HIDDEN, FFN = 2, 4, 64, 256


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def make_preset(vocabulary, preset):
    """Weights of the size that training gives them, so that every tensor matters from the first step."""
    with open(f"{vocabulary}/vocab.json") as f:
        tokens = json.load(f)
    with open(f"{vocabulary}/merges.txt") as f:
        merges = [line for line in f.read().split("\n") if line and not line.startswith("#version")]
    tokenizer = keras_hub.models.GPT2Tokenizer(vocabulary=tokens, merges=merges)
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=T)
    backbone = keras_hub.models.GPT2Backbone(len(tokens), LAYERS, HEADS, HIDDEN, FFN, dropout=0, max_sequence_length=T)
    rng = np.random.default_rng(1)
    backbone.set_weights([w + rng.normal(0, 0.05, w.shape).astype("float32") for w in backbone.get_weights()])
    keras_hub.models.GPT2CausalLM(backbone, preprocessor).save_to_preset(preset)


def train_galley(preset, folder):
    run("mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2", GALLEY, "train", CONFIG, f"--run.start_from={preset}",
        f"--run.folder={folder}", f"--data.train={','.join(POEMS)}", "--data.shuffle=false", "--train.precision=fp32",
        f"--train.steps={STEPS}", "--train.log_every_steps=1", "--sampling.every_steps=0", "--sampling.every_epochs=0",
        f"--schedule.decay_steps={STEPS}")
    with open(f"{folder}/metrics.jsonl") as f:
        return [json.loads(line) for line in f]


def batches(preset):
    """Token ids, padding mask, labels and sample weights of each step."""
    assets = f"{preset}/assets/tokenizer"
    tokenizer = transformers.GPT2Tokenizer(f"{assets}/vocabulary.json", f"{assets}/merges.txt")
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    texts = []
    for path in POEMS:
        with open(path, encoding="utf-8") as f:
            texts += ["".join(poem["paragraphs"]) for poem in json.load(f)]
    texts = [text for text in texts if text]
    for step in range(STEPS):
        ids = np.zeros((BATCH, T + 1), "int32")
        mask = np.zeros((BATCH, T + 1), bool)
        for row, text in enumerate(texts[step * BATCH:(step + 1) * BATCH]):
            packed = [end] + tokenizer(text)["input_ids"][:T - 1] + [end]
            ids[row, :len(packed)] = packed
            mask[row, :len(packed)] = True
        yield {"token_ids": ids[:, :-1], "padding_mask": mask[:, :-1]}, ids[:, 1:], mask[:, 1:]


def train_keras(preset):
    model = keras_hub.models.GPT2CausalLM.from_preset(preset, preprocessor=None)
    rate = keras.optimizers.schedules.PolynomialDecay(5e-4, decay_steps=STEPS, end_learning_rate=0.0)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  weighted_metrics=["accuracy"])
    rows = []
    for x, y, weights in batches(preset):
        model.reset_metrics()
        loss, accuracy = model.train_on_batch(x, y, sample_weight=weights.astype("float32"))
        rows.append({"loss": float(loss), "accuracy": float(accuracy)})
    return rows


def compare(ours, theirs):
    if len(ours) != STEPS:
        sys.exit(f"galley logged {len(ours)} steps, expected {STEPS}")
    worst = 0.0
    print("step  galley      KerasHub    relative difference")
    for step, (a, b) in enumerate(zip(ours, theirs), 1):
        error = abs(a["loss"] - b["loss"]) / b["loss"]
        worst = max(worst, error)
        if step == 1 or step % 10 == 0:
            print(f"{step:4}  {a['loss']:.7f}  {b['loss']:.7f}  {error:.1e}")
        if not error <= BOUND:
            sys.exit(f"step {step}: loss {a['loss']}, KerasHub's {b['loss']}: {error:.2g} apart, more than {BOUND}")
        if not abs(a["accuracy"] - b["accuracy"]) <= 2e-3:    # a few near ties may fall the other way
            sys.exit(f"step {step}: accuracy {a['accuracy']}, KerasHub's {b['accuracy']}")
    if not theirs[-1]["loss"] < 0.9 * theirs[0]["loss"]:
        sys.exit("nothing was learned")
    return worst


def check_poem(folder):
    prompt = "白日"
    done = subprocess.run([GALLEY, "generate", folder, "--prompt", prompt, "--max-length", "60", "--sampler", "greedy"],
                          capture_output=True, check=True)
    poem = done.stdout.decode("utf-8").strip()    # raises where a character is not whole
    if not poem.startswith(prompt) or len(poem) <= len(prompt) or "\ufffd" in poem:
        sys.exit(f"generate wrote {poem!r}")
    print(f"a poem begun with {prompt}: {poem}")


os.chdir(FOLDER)
run(GALLEY, "vocab", "--kind", "bpe", "--end-token-last", "--size", "6000", "--field", "paragraphs", "--output", "vocabulary", *POEMS)
make_preset("vocabulary", "preset")
worst = compare(train_galley("preset", "run"), train_keras("preset"))
check_poem("run")
print(f"{STEPS} steps with keras {keras.__version__}, keras-hub {keras_hub.__version__}: losses within {worst:.2g}")
