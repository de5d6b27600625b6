/* score_rows.c - scores as JSON lines, and the measures of each kind of example. */
#include "cli/score_rows.h"

#include <math.h>

static double sum_of(const double *values, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

/* JSON has no other numbers. */
static void print_number(FILE *out, double x)
{
    if (isfinite(x))
        fprintf(out, "%.9g", x);
    else
        fputs("null", out);
}

static void print_member(FILE *out, const char *name, double x)
{
    fprintf(out, ", \"%s\": ", name);
    print_number(out, x);
}

static void begin_list(FILE *out, const char *name)
{
    fprintf(out, ", \"%s\": [", name);
}

/* ---- texts ---- */

static int64_t text_bytes(const struct score_rows *rows, const struct example_sequence *s)
{
    int64_t bytes = 0;
    if (!rows->tokenizer || s->count <= s->first)
        return 0;
    const bool whole = s->ids[0] == tokenizer_start_id(rows->tokenizer);    /* all of the text is scored */
    for (int i = s->first; i < s->count; i++)
        bytes += (int64_t)tokenizer_text_bytes(rows->tokenizer, s->ids[i], whole && i == s->first);
    return bytes;
}

static void print_text(const struct score_rows *rows, const struct example_sequence *s,
                       const struct sequence_scores *x, int64_t bytes)
{
    FILE *out = rows->out;
    fprintf(out, ", \"tokens\": %d", x->count);
    if (rows->tokenizer)
        fprintf(out, ", \"bytes\": %lld", (long long)bytes);
    print_member(out, "log_likelihood", 0 - sum_of(x->losses, x->count));
    begin_list(out, "ids");
    for (int i = 0; i < x->count; i++)
        fprintf(out, "%s%d", i ? ", " : "", (int)s->ids[s->first + i]);
    fputs("]", out);
    begin_list(out, "log_likelihoods");
    for (int i = 0; i < x->count; i++) {
        fputs(i ? ", " : "", out);
        print_number(out, -x->losses[i]);
    }
    fputs("]", out);
    begin_list(out, "greedy");
    for (int i = 0; i < x->count; i++)
        fprintf(out, "%s%s", i ? ", " : "", x->correct[i] > 0 ? "true" : "false");
    fputs("]", out);
}

static void add_text(struct score_rows *rows, const struct example *example,
                     const struct sequence_scores *x)
{
    const struct example_sequence *s = &example->sequences[0];
    const int64_t bytes = text_bytes(rows, s);
    rows->bytes += bytes;
    rows->loss += sum_of(x->losses, x->count);
    rows->correct += sum_of(x->correct, x->count);
    if (rows->out)
        print_text(rows, s, x, bytes);
}

/* ---- last words ---- */

/* lm-evaluation-harness's lambada_openai: right where every token of the word is the most probable
 * one. */
static void add_last_word(struct score_rows *rows, const struct sequence_scores *x)
{
    const double loss = sum_of(x->losses, x->count);
    const bool greedy = sum_of(x->correct, x->count) >= x->count;
    rows->loss += loss;
    rows->correct += greedy;
    if (!rows->out)
        return;
    fprintf(rows->out, ", \"tokens\": %d", x->count);
    print_member(rows->out, "log_likelihood", 0 - loss);
    fprintf(rows->out, ", \"greedy\": %s", greedy ? "true" : "false");
}

/* ---- endings ---- */

/* The first of the lowest losses, summed or a token. */
static int choose(const struct example *example, const struct sequence_scores *x, bool mean)
{
    int best = 0;
    double lowest = INFINITY;
    for (int k = 0; k < example->count; k++) {
        const double sum = sum_of(x[k].losses, x[k].count), loss = mean ? sum / x[k].count : sum;
        if (loss < lowest) {
            lowest = loss;
            best = k;
        }
    }
    return best;
}

static void add_choice(struct score_rows *rows, const struct example *example,
                       const struct sequence_scores *x)
{
    const int by_sum = choose(example, x, false), by_mean = choose(example, x, true);
    FILE *out = rows->out;
    rows->correct += by_sum == example->label;
    rows->correct_normalised += by_mean == example->label;
    if (!out)
        return;
    fprintf(out, ", \"label\": %d, \"choice\": %d, \"choice_normalised\": %d", example->label,
            by_sum, by_mean);
    begin_list(out, "tokens");
    for (int k = 0; k < example->count; k++)
        fprintf(out, "%s%d", k ? ", " : "", x[k].count);
    fputs("]", out);
    begin_list(out, "log_likelihoods");
    for (int k = 0; k < example->count; k++) {
        fputs(k ? ", " : "", out);
        print_number(out, 0 - sum_of(x[k].losses, x[k].count));
    }
    fputs("]", out);
}

/* ---- all kinds ---- */

struct error *score_rows_add(void *self, int64_t index, const struct example *example,
                             const struct sequence_scores *scores)
{
    struct score_rows *rows = self;
    bool cut = false;
    rows->examples++;
    for (int k = 0; k < example->count; k++) {
        rows->tokens += scores[k].count;
        cut |= scores[k].cut;
    }
    rows->cut += cut;
    if (rows->out)
        fprintf(rows->out, "{\"index\": %lld", (long long)index);
    if (rows->kind == EXAMPLES_TEXT)
        add_text(rows, example, scores);
    else if (rows->kind == EXAMPLES_LAMBADA)
        add_last_word(rows, scores);
    else
        add_choice(rows, example, scores);
    if (rows->out)
        fputs("}\n", rows->out);
    if (rows->out && ferror(rows->out))
        return error_errno(ERROR_IO, "cannot write the scores");
    return NULL;
}

void score_rows_print_summary(const struct score_rows *rows, FILE *out)
{
    const double examples = (double)rows->examples, tokens = (double)rows->tokens;
    fprintf(out, "{\"kind\": \"%s\", \"examples\": %lld, \"tokens\": %lld",
            example_kind_name(rows->kind), (long long)rows->examples, (long long)rows->tokens);
    if (rows->kind == EXAMPLES_TEXT) {
        print_member(out, "loss", rows->loss / tokens);
        print_member(out, "perplexity", exp(rows->loss / tokens));
        print_member(out, "accuracy", rows->correct / tokens);
        if (rows->tokenizer) {
            fprintf(out, ", \"bytes\": %lld", (long long)rows->bytes);
            print_member(out, "bits_per_byte", rows->loss / log(2) / (double)rows->bytes);
        }
    } else {
        print_member(out, "accuracy", rows->correct / examples);
        if (rows->kind == EXAMPLES_LAMBADA)
            print_member(out, "perplexity", exp(rows->loss / examples));
        else
            print_member(out, "accuracy_normalised", rows->correct_normalised / examples);
        fprintf(out, ", \"cut\": %lld", (long long)rows->cut);
    }
    fputs("}\n", out);
}
