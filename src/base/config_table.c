/* config_table.c - every key of the configuration: name, type, default, range, meaning. */
#include "base/config_table.h"

#define NO_RANGE -1e300, 1e300
#define AT(field) offsetof(struct config, field)
#define INT(name, field, otherwise, low, high, help)                                               \
    {name, CONFIG_INT, otherwise, low, high, NULL, help, AT(field)}
#define DOUBLE(name, field, otherwise, low, high, help)                                            \
    {name, CONFIG_DOUBLE, otherwise, low, high, NULL, help, AT(field)}
#define BOOL(name, field, otherwise, help)                                                         \
    {name, CONFIG_BOOL, otherwise, NO_RANGE, NULL, help, AT(field)}
#define STRING(name, field, otherwise, help)                                                       \
    {name, CONFIG_STRING, otherwise, NO_RANGE, NULL, help, AT(field)}
#define CHOICE(name, field, otherwise, choices, help)                                              \
    {name, CONFIG_CHOICE, otherwise, NO_RANGE, choices, help, AT(field)}
#define LIST(name, field, otherwise, help)                                                         \
    {name, CONFIG_LIST, otherwise, NO_RANGE, NULL, help, AT(field)}

/* The sizes of KerasHub's presets and of its example, which are the keys' own defaults. */
#define GPT2(channels, heads, feed_forward, layers)                                                \
    {                                                                                              \
        "model.family=gpt2", "model.vocabulary_size=50257", "model.channels=" channels,            \
        "model.heads=" heads, "model.feed_forward=" feed_forward, "model.layers=" layers,          \
        "model.max_positions=1024", "model.dropout=0.1"                                            \
    }
const struct config_preset config_presets[] = {
    {"mini_gpt", {NULL}},
    {"gpt2_base_en", GPT2("768", "12", "3072", "12")},
    {"gpt2_medium_en", GPT2("1024", "16", "4096", "24")},
    {"gpt2_large_en", GPT2("1280", "20", "5120", "36")},
    {"gpt2_extra_large_en", GPT2("1600", "25", "6400", "48")},
};
const int config_preset_count = sizeof config_presets / sizeof config_presets[0];

const struct config_key config_keys[] = {
    STRING("run.folder", run.folder, "runs/mini-gpt", "where checkpoints and logs of the run go"),
    STRING("run.start_from", run.start_from, "",
           "a model to train further: KerasHub preset, Hugging Face folder, Keras weights, run "
           "folder or checkpoint; it gives weights, sizes, tokenizer and, unless they are set, "
           "data.sequence_length, start_token and end_token of a new run, a resumed "
           "one has its own"),
    INT("run.seed", run.seed, "1", 0, 9e15, "initial weights and the order of samples "
        "follow from it"),
    BOOL("run.allow_changed_data", run.allow_changed_data, "false",
         "resume although the training data is not what it was; of a pipe, behind as many "
         "bytes as were used"),
    STRING("run.time_limit", run.time_limit, "",
           "save and end before so much time is over (exit code 75): minutes, "
           "hours:minutes:seconds or days-hours:minutes:seconds; empty: what Slurm gives the "
           "job, if it does"),
    INT("run.time_margin_s", run.time_margin_s, "30", 0, 1e6,
        "seconds to spare at the time limit, beside what saving takes"),

    CHOICE("model.preset", model.preset, "mini_gpt",
           "mini_gpt|gpt2_base_en|gpt2_medium_en|gpt2_large_en|gpt2_extra_large_en",
           "sets the other keys of this section, unless they are given; the weights "
           "start at random"),
    CHOICE("model.family", model.family, "mini-gpt", "mini-gpt|gpt2",
           "mini-gpt: post-norm ReLU blocks, a head of its own; gpt2: pre-norm GELU blocks, a "
           "final norm, the head tied to the token embedding"),
    INT("model.vocabulary_size", model.vocabulary_size, "5000", 4, 1 << 24,
        "V: rows of the embedding; at least the tokenizer's entries"),
    INT("model.channels", model.channels, "256", 1, 1 << 16, "C: width of the hidden states"),
    INT("model.heads", model.heads, "3", 1, 1 << 12,
        "attention heads, each channels / heads wide (rounded down)"),
    INT("model.feed_forward", model.feed_forward, "128", 1, 1 << 18, "width inside the MLP"),
    INT("model.layers", model.layers, "2", 1, 1 << 10, "decoder blocks"),
    INT("model.max_positions", model.max_positions, "0", 0, 1 << 20,
        "rows of the position table; 0: data.sequence_length"),
    DOUBLE("model.dropout", model.dropout, "0", 0, 0.99,
           "rate in training: of the branches, the attention probabilities, and GPT-2's embedding"),

    CHOICE("tokenizer.kind", tokenizer.kind, "wordpiece", "wordpiece|bpe",
           "how text becomes tokens: KerasHub's WordPiece or GPT-2's byte-level BPE"),
    STRING("tokenizer.vocabulary", tokenizer.vocabulary, "",
           "vocabulary file (bpe: vocab.json, or a folder with it and merges.txt); empty: learned "
           "from the training text when the run starts"),
    STRING("tokenizer.merges", tokenizer.merges, "",
           "bpe: merges file; empty: merges.txt beside the vocabulary"),
    BOOL("tokenizer.special_as_text", tokenizer.special_as_text, "false",
         "bpe: the end-of-text token, where text has it, is text and not the token"),
    BOOL("tokenizer.lowercase", tokenizer.lowercase, "true", "fold case (NFKC_Casefold)"),
    BOOL("tokenizer.strip_accents", tokenizer.strip_accents, "false", "remove accents"),
    BOOL("tokenizer.split_on_cjk", tokenizer.split_on_cjk, "true",
         "every Chinese, Japanese or Korean character is a word"),
    LIST("tokenizer.reserved", tokenizer.reserved, "[PAD],[UNK],[BOS]",
         "first entries of a learned vocabulary"),

    LIST("data.train", data.train, "",
         "what to train on: files or globs; text or JSON, plain, gzip or zstd, or tokens; or a "
         "fifo, or standard input (-; of JSON lines -.jsonl)"),
    LIST("data.validation", data.validation, "", "what to validate on; empty: no validation"),
    STRING("data.field", data.field, "text",
           "of .jsonl and .json files: the field with the text, a string or a list "
           "of them to join"),
    LIST("data.weights", data.weights, "",
         "shares in which the inputs of data.train are blended, one an input; empty: "
         "by their sizes"),
    CHOICE("data.kind", data.kind, "auto", "auto|lines|tokens",
           "what the inputs are: text, a sample a line, or token files; auto: what their content "
           "says. Text that comes through a pipe as tokens is tokenized as galley tokenize does"),
    BOOL("data.mask_documents", data.mask_documents, "false",
         "of token files: attention stays inside a document"),
    BOOL("data.restart_positions", data.restart_positions, "false",
         "of token files: positions begin at 0 in every document of a sample"),
    INT("data.sequence_length", data.sequence_length, "128", 2, 1 << 20, "T: tokens in one sample"),
    INT("data.min_bytes", data.min_bytes, "0", 0, 1 << 30,
        "shorter texts are left out; 0: 513 for model.family mini-gpt, as its example; 1 for gpt2"),
    BOOL("data.start_token", data.start_token, "true",
         "of text for model.family gpt2: every sample begins with the start token"),
    BOOL("data.end_token", data.end_token, "true",
         "of text for model.family gpt2: every sample ends with the end token, also where it is "
         "cut; if the tokenizer has one"),
    BOOL("data.shuffle", data.shuffle, "true", "a new order of samples every epoch"),
    BOOL("data.drop_last", data.drop_last, "false",
         "leave out an epoch's last global batch if it is short"),
    INT("data.pipe_window", data.pipe_window, "4096", 1, 1 << 24,
        "of a fifo or standard input: samples read ahead and, with data.shuffle, shuffled "
        "among each other"),
    INT("data.threads", data.threads, "1", 1, 64, "tokenizing threads of a rank"),
    INT("data.prefetch", data.prefetch, "8", 2, 1024, "micro-batches tokenized ahead"),

    INT("train.epochs", train.epochs, "5", 1, 1e9, "passes over the training text"),
    INT("train.steps", train.steps, "0", 0, 1e12, "end after so many steps; 0: as epochs say"),
    INT("train.global_batch", train.global_batch, "64", 1, 1 << 24,
        "samples of one optimizer step, over all ranks"),
    INT("train.micro_batch", train.micro_batch, "0", 0, 1 << 24,
        "samples of one forward pass of a rank; 0: its whole share of the global batch"),
    CHOICE("train.loss_mean", train.loss_mean, "tokens", "tokens|positions",
           "what the sum of losses is divided by: the positions that count in it, so that padding "
           "makes no difference; or all positions, samples x sequence_length, as "
           "KerasHub's GPT2CausalLM"),
    CHOICE("train.precision", train.precision, "fp32", "fp32|bf16|fp16",
           "bf16, fp16: operands of matrix products; sums and master weights stay fp32. fp16 "
           "scales the loss by what the gradients bear, and is for GPUs alone"),
    INT("train.log_every_steps", train.log_every_steps, "10", 1, 1e9, "a line and a metrics row"),
    INT("train.check_every_steps", train.check_every_steps, "100", 0, 1e9,
        "compare the parameters of all ranks; 0: never"),
    BOOL("train.reproducible", train.reproducible, "false",
         "also --reproducible: on CPUs the same losses and weights, bit for bit, for every power "
         "of two of ranks: gradients of micro-batches are summed up a fixed binary tree, within a "
         "rank and over ranks. Needs train.micro_batch and device.threads, and global_batch / "
         "micro_batch a power of two; costs a gradient buffer for every doubling of a rank's "
         "micro-batches, and sums over ranks no longer go on beside the computation. Over GPUs "
         "NCCL adds in an order of its own: the same for 1 and 2 ranks, and from run to run on "
         "the same GPUs"),
    CHOICE("train.on_nan", train.on_nan, "stop", "stop|skip|rollback",
           "a step whose loss or gradient is not finite updates nothing; then: end the run, go on "
           "with the next global batch, or go on with it from the last checkpoint, so that no "
           "global batch since then has a part in the model"),
    INT("train.nan_limit", train.nan_limit, "10", 1, 1e9,
        "the run ends when more steps in a row than that were not finite, or it would roll "
        "back more often"),
    DOUBLE("train.spike_sigma", train.spike_sigma, "0", 0, 1e6,
           "a step updates nothing if its loss or gradient norm is more than so many standard "
           "deviations above the mean of the steps before; 6 is usual, 0: never"),
    INT("train.spike_window", train.spike_window, "128", 2, 1024,
        "so many steps before; until there were as many nothing is a spike"),

    CHOICE("optimizer.kind", optimizer.kind, "adam", "adam|adamw", "adamw uses weight_decay"),
    DOUBLE("optimizer.learning_rate", optimizer.learning_rate, "0.001", 0, 1e3,
           "at the top of the schedule"),
    DOUBLE("optimizer.beta1", optimizer.beta1, "0.9", 0, 0.9999999, "decay of the first moment"),
    DOUBLE("optimizer.beta2", optimizer.beta2, "0.999", 0, 0.9999999, "decay of the second moment"),
    DOUBLE("optimizer.epsilon", optimizer.epsilon, "1e-7", 1e-30, 1,
           "added to the root of the second moment, uncorrected as in Keras"),
    DOUBLE("optimizer.weight_decay", optimizer.weight_decay, "0.004", 0, 10,
           "of adamw: weights lose learning_rate * weight_decay of themselves a step"),
    CHOICE("optimizer.decay_on", optimizer.decay_on, "all", "all|matrices",
           "what adamw decays: every parameter (Keras's rule) or kernels and embeddings"),
    CHOICE("optimizer.token_moment", optimizer.token_moment, "dense", "dense|by_occurrence",
           "second moment of the token embedding: from the squared gradient, or from the sum of "
           "each occurrence's square, as Keras computes on TensorFlow"),
    DOUBLE("optimizer.clip_norm", optimizer.clip_norm, "0", 0, 1e9,
           "largest norm of the whole gradient; 0: no clipping"),

    CHOICE("schedule.kind", schedule.kind, "constant", "constant|polynomial|cosine",
           "the learning rate after the warm-up"),
    INT("schedule.warmup_steps", schedule.warmup_steps, "0", 0, 1e12, "linear rise at the start"),
    INT("schedule.decay_steps", schedule.decay_steps, "0", 0, 1e12,
        "steps from the start of the run to the end of the decay; 0: the whole run"),
    DOUBLE("schedule.end_learning_rate", schedule.end_learning_rate, "0", 0, 1e3,
           "where polynomial and cosine end"),
    DOUBLE("schedule.power", schedule.power, "1", 0, 100, "of the polynomial; 1 is linear"),

    INT("validation.every_steps", validation.when.every_steps, "0", 0, 1e12, "0: not by steps"),
    INT("validation.every_epochs", validation.when.every_epochs, "1", 0, 1e9, "0: not by epochs"),
    BOOL("validation.at_start", validation.at_start, "false", "also before the first step"),

    INT("sampling.every_steps", sampling.when.every_steps, "0", 0, 1e12, "0: not by steps"),
    INT("sampling.every_epochs", sampling.when.every_epochs, "1", 0, 1e9, "0: not by epochs"),
    BOOL("sampling.at_start", sampling.at_start, "false", "also before the first step"),

    INT("checkpoint.every_steps", checkpoint.when.every_steps, "0", 0, 1e12, "0: not by steps"),
    INT("checkpoint.every_epochs", checkpoint.when.every_epochs, "1", 0, 1e9,
        "0: not by epochs; there is always one at the end"),
    INT("checkpoint.keep", checkpoint.keep, "3", 0, 1e6,
        "newest checkpoints kept, beside the best; 0: all"),
    BOOL("checkpoint.resume", checkpoint.resume, "true",
         "go on from the newest checkpoint of the run folder, if there is one; false: a folder "
         "that holds any is refused"),
    CHOICE("checkpoint.on_error", checkpoint.on_error, "stop", "stop|continue",
           "when one cannot be written: end the run, or tell and try again with the next"),

    CHOICE("device.kind", device.kind, "auto", "auto|cpu|cuda",
           "where to compute; auto: on GPUs where there are any"),
    BOOL("device.graphs", device.graphs, "true",
         "queue a step on a GPU as one graph, not kernel by kernel"),
    INT("device.threads", device.threads, "0", 0, 4096,
        "compute threads of a rank; 0: its share of the node's cores"),
    BOOL("device.tf32", device.tf32, "false",
         "on a GPU, fp32 matrix products in TF32: faster, 10 bits of mantissa"),
    BOOL("device.tune", device.tune, "false",
         "on a GPU, time the ways to compute each matrix product, and what goes with it, and "
         "attention by cuDNN where that is installed, once and take the fastest; two runs may then "
         "differ in rounding"),

    INT("deadline.answer", deadline.answer, "60", 1, 1e6,
        "s: a rank that others wait for and that does not answer for so long is "
        "gone, the run ends"),
    INT("deadline.init", deadline.init, "7200", 1, 1e9,
        "s: the longest a rank may keep others waiting at the start, reading data and models"),
    INT("deadline.data", deadline.data, "7200", 1, 1e9,
        "s: the same while it reads a step's samples; and a pipe that sends nothing for so long, "
        "while the run waits for it, ends the run"),
    INT("deadline.step", deadline.step, "1800", 1, 1e9, "s: the same in a training step"),
    INT("deadline.validation", deadline.validation, "7200", 1, 1e9,
        "s: the same while it validates or writes samples"),
    INT("deadline.save", deadline.save, "1800", 1, 1e9, "s: the same while it saves"),

    DOUBLE("comm.bucket_megabytes", comm.bucket_megabytes, "0", 0, 1024,
           "gradients summed over ranks at a time; 0: 4 on CPUs, 25 on GPUs"),
};
const int config_key_count = sizeof config_keys / sizeof config_keys[0];

#undef AT
#define AT(field) offsetof(struct config_sample, field)

/* Of every element of sampling.samples. */
const struct config_key config_sample_keys[] = {
    STRING("prompt", prompt, "", "text the sample begins with"),
    CHOICE("sampler", sampler, "greedy", "greedy|random|top_k|top_p|beam|contrastive",
           "how the next token is chosen"),
    INT("k", k, "0", 0, 1 << 24,
        "top_k and contrastive: how many tokens stay, 0: 5; top_p: cut to so many "
        "first, 0: no cut"),
    DOUBLE("p", p, "0.5", 0, 1, "top_p: the probability mass kept"),
    INT("beams", beams, "5", 1, 1024, "beam: sequences kept"),
    DOUBLE("alpha", alpha, "0.6", 0, 1, "contrastive: how much to avoid what was said before"),
    DOUBLE("temperature", temperature, "1", 1e-6, 1e6, "logits are divided by it"),
    INT("seed", seed, "1", 0, 9e15, "of the random samplers"),
    INT("max_length", max_length, "0", 0, 1 << 20, "tokens in all; 0: data.sequence_length"),
};
const int config_sample_key_count = sizeof config_sample_keys / sizeof config_sample_keys[0];
