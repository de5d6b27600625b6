/* keras_fixture.c - reads KerasHub's mini_gpt and gpt2 fixtures (HDF5) into Galley's order of
 * parameters. */
#include "keras_fixture.h"

#include "testing.h"

#include <hdf5.h>

void keras_fixture_open(struct keras_fixture *fixture, const char *path)
{
    fixture->file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (fixture->file < 0)
        fail_msg("%s is no HDF5 file", path);
    if (H5Aexists(fixture->file, "hidden") > 0) {
        fixture->spec = (struct model_spec){
            .family = MODEL_GPT2,
            .V = (int)keras_fixture_attribute(fixture, "/", "vocabulary_size", 0),
            .positions = (int)keras_fixture_attribute(fixture, "/", "positions", 0),
            .C = (int)keras_fixture_attribute(fixture, "/", "hidden", 0),
            .NH = (int)keras_fixture_attribute(fixture, "/", "heads", 0),
            .F = (int)keras_fixture_attribute(fixture, "/", "ffn", 0),
            .L = (int)keras_fixture_attribute(fixture, "/", "layers", 0),
        };
        fixture->T = (int)keras_fixture_attribute(fixture, "/", "T", 0);
        const hid_t set = H5Dopen2(fixture->file, "batch/token_ids", H5P_DEFAULT);
        const hid_t space = H5Dget_space(set);
        fixture->B = (int)(H5Sget_simple_extent_npoints(space) / fixture->T);
        H5Sclose(space);
        H5Dclose(set);
        return;
    }
    fixture->spec = (struct model_spec){
        .family = MODEL_MINI_GPT,
        .V = (int)keras_fixture_attribute(fixture, "/", "vocabulary_size", 0),
        .positions = (int)keras_fixture_attribute(fixture, "/", "sequence_length", 0),
        .C = (int)keras_fixture_attribute(fixture, "/", "embedding_dim", 0),
        .NH = (int)keras_fixture_attribute(fixture, "/", "num_heads", 0),
        .F = (int)keras_fixture_attribute(fixture, "/", "intermediate_dim", 0),
        .L = (int)keras_fixture_attribute(fixture, "/", "num_layers", 0),
    };
    fixture->B = (int)keras_fixture_attribute(fixture, "/", "batch_size", 0);
    fixture->T = fixture->spec.positions;
}

void keras_fixture_close(struct keras_fixture *fixture)
{
    H5Fclose(fixture->file);
}

static void read_dataset(const struct keras_fixture *fixture, const char *path, hid_t type,
                         void *out, int64_t count)
{
    const hid_t dataset = H5Dopen2(fixture->file, path, H5P_DEFAULT);
    if (dataset < 0)
        fail_msg("the fixture has no %s", path);
    const hid_t space = H5Dget_space(dataset);
    const int64_t found = H5Sget_simple_extent_npoints(space);
    if (found != count)
        fail_msg("%s has %lld elements, expected %lld", path, (long long)found, (long long)count);
    if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0)
        fail_msg("%s cannot be read", path);
    H5Sclose(space);
    H5Dclose(dataset);
}

void keras_fixture_floats(const struct keras_fixture *fixture, const char *path, float *out,
                          int64_t count)
{
    read_dataset(fixture, path, H5T_NATIVE_FLOAT, out, count);
}

void keras_fixture_doubles(const struct keras_fixture *fixture, const char *path, double *out,
                           int64_t count)
{
    read_dataset(fixture, path, H5T_NATIVE_DOUBLE, out, count);
}

void keras_fixture_ints(const struct keras_fixture *fixture, const char *path, int32_t *out,
                        int64_t count)
{
    read_dataset(fixture, path, H5T_NATIVE_INT32, out, count);
}

bool keras_fixture_has(const struct keras_fixture *fixture, const char *path)
{
    char part[256];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        const bool there = H5Lexists(fixture->file, part, H5P_DEFAULT) > 0;
        *slash = '/';
        if (!there)
            return false;
    }
    return H5Lexists(fixture->file, path, H5P_DEFAULT) > 0;
}

double keras_fixture_attribute(const struct keras_fixture *fixture, const char *object,
                               const char *name, double otherwise)
{
    if (H5Aexists_by_name(fixture->file, object, name, H5P_DEFAULT) <= 0)
        return otherwise;
    const hid_t attribute =
        H5Aopen_by_name(fixture->file, object, name, H5P_DEFAULT, H5P_DEFAULT);
    double value = 0;
    if (H5Aread(attribute, H5T_NATIVE_DOUBLE, &value) < 0)
        fail_msg("attribute %s of %s cannot be read", name, object);
    H5Aclose(attribute);
    return value;
}

/* What a layer's group is called in this family's fixtures. */
static const char *layer_word(const struct keras_fixture *fixture)
{
    return fixture->spec.family == MODEL_GPT2 ? "layer" : "decoder";
}

/* Where a tensor that is one in Keras too stands below its group. */
static void tensor_path(const struct keras_fixture *fixture, int layer, const char *rest,
                        char *path, size_t bytes)
{
    if (layer >= 0 && !strncmp(rest, "attention/output/", 17))
        snprintf(path, bytes, "%s_%d/attention_output/%s", layer_word(fixture), layer, rest + 17);
    else if (layer >= 0)
        snprintf(path, bytes, "%s_%d/%s", layer_word(fixture), layer, rest);
    else if (fixture->spec.family == MODEL_GPT2 && !strcmp(rest, "token_embedding"))
        snprintf(path, bytes, "wte");
    else if (fixture->spec.family == MODEL_GPT2 && !strcmp(rest, "position_embedding"))
        snprintf(path, bytes, "wpe");
    else
        snprintf(path, bytes, "%s", rest);
}

/* Query, key and value of a layer: (C, NH, HS) each into (C, 3, NH, HS); a bias has C = 1. */
static void read_qkv(const struct keras_fixture *fixture, const char *group, int layer,
                     const char *what, int64_t C, float *out)
{
    static const char *const names[] = {"query", "key", "value"};
    const int64_t width = (int64_t)fixture->spec.NH * spec_head_size(&fixture->spec);
    float *one = malloc((size_t)(C * width) * sizeof *one);
    for (int i = 0; i < 3; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s_%d/%s/%s", group, layer_word(fixture), layer, names[i],
                 what);
        keras_fixture_floats(fixture, path, one, C * width);
        for (int64_t c = 0; c < C; c++)
            memcpy(out + (c * 3 + i) * width, one + c * width, (size_t)width * sizeof *one);
    }
    free(one);
}

void keras_fixture_tensors(const struct keras_fixture *fixture, const char *group,
                           const struct parameters *parameters, float *flat)
{
    memset(flat, 0, (size_t)parameters->flat_count * sizeof *flat);
    for (int i = 0; i < parameters->n; i++) {
        const struct parameter *t = &parameters->list[i];
        int layer = -1;
        const char *rest = t->name;
        if (sscanf(t->name, "decoder_%d/", &layer) == 1)
            rest = strchr(t->name, '/') + 1;
        char path[256], below[160];
        if (!strcmp(rest, "attention/qkv/kernel")) {
            read_qkv(fixture, group, layer, "kernel", fixture->spec.C, flat + t->offset);
        } else if (!strcmp(rest, "attention/qkv/bias")) {
            read_qkv(fixture, group, layer, "bias", 1, flat + t->offset);
        } else {
            tensor_path(fixture, layer, rest, below, sizeof below);
            snprintf(path, sizeof path, "%s/%s", group, below);
            keras_fixture_floats(fixture, path, flat + t->offset, t->count);
        }
    }
}

void keras_fixture_masks(struct batch *batch)
{
    const size_t N = (size_t)batch->B * (size_t)batch->T;
    uint8_t *seen = calloc(N, 1), *counted = calloc(N, 1);
    for (size_t n = 0; n < N; n++) {
        seen[n] = batch->tokens[n] != 0;
        counted[n] = batch->targets[n] != 0;
    }
    batch->key_mask = seen;
    batch->loss_mask = seen;
    batch->metric_mask = counted;
}

void keras_fixture_batch(const struct keras_fixture *fixture, int i, struct batch *batch)
{
    const int64_t N = (int64_t)fixture->B * fixture->T;
    int32_t *tokens = malloc((size_t)N * sizeof *tokens);
    int32_t *targets = malloc((size_t)N * sizeof *targets);
    char path[64];
    snprintf(path, sizeof path, "batches/%d/inputs", i);
    keras_fixture_ints(fixture, path, tokens, N);
    snprintf(path, sizeof path, "batches/%d/labels", i);
    keras_fixture_ints(fixture, path, targets, N);
    *batch = (struct batch){
        .B = fixture->B, .T = fixture->T, .rows = fixture->B, .tokens = tokens,
        .targets = targets,
    };
    keras_fixture_masks(batch);
}

char *keras_fixture_texts(const struct keras_fixture *fixture)
{
    char *lines = NULL;
    size_t bytes = 0;
    const hid_t attribute =
        H5Aopen_by_name(fixture->file, "batch", "texts", H5P_DEFAULT, H5P_DEFAULT);
    if (attribute < 0)
        fail_msg("the fixture has no texts");
    const hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    const hssize_t count = H5Sget_simple_extent_npoints(space);
    char **texts = calloc((size_t)count, sizeof *texts);
    if (H5Aread(attribute, type, texts) < 0)
        fail_msg("the texts of the fixture cannot be read");
    FILE *f = open_memstream(&lines, &bytes);
    for (hssize_t i = 0; i < count; i++)
        fprintf(f, "%s\n", texts[i]);
    fclose(f);
    H5Dvlen_reclaim(type, space, H5P_DEFAULT, texts);
    free(texts);
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(attribute);
    return lines;
}

void keras_fixture_gpt2_batch(const struct keras_fixture *fixture, struct batch *batch)
{
    const int64_t N = (int64_t)fixture->B * fixture->T;
    int32_t *tokens = malloc((size_t)N * sizeof *tokens);
    int32_t *targets = malloc((size_t)N * sizeof *targets);
    int32_t *seen = malloc((size_t)N * sizeof *seen);
    float *weights = malloc((size_t)N * sizeof *weights);
    uint8_t *key_mask = malloc((size_t)N), *counted = malloc((size_t)N);
    keras_fixture_ints(fixture, "batch/token_ids", tokens, N);
    keras_fixture_ints(fixture, "batch/labels", targets, N);
    keras_fixture_ints(fixture, "batch/padding_mask", seen, N);
    keras_fixture_floats(fixture, "batch/sample_weight", weights, N);
    for (int64_t n = 0; n < N; n++) {
        key_mask[n] = (uint8_t)seen[n];
        counted[n] = weights[n] > 0.5f;
        if (weights[n] != (counted[n] ? 1.0f : 0.0f))
            fail_msg("sample weight %lld is %g, expected 0 or 1", (long long)n,
                     (double)weights[n]);
    }
    free(seen);
    free(weights);
    *batch = (struct batch){
        .B = fixture->B, .T = fixture->T, .rows = fixture->B, .tokens = tokens,
        .targets = targets, .key_mask = key_mask, .loss_mask = counted, .metric_mask = counted,
    };
}

static void free_const(const void *memory)
{
    union {
        const void *constant;
        void *plain;
    } u = {.constant = memory};
    free(u.plain);
}

void keras_fixture_free(struct batch *batch)
{
    free_const(batch->tokens);
    free_const(batch->targets);
    free_const(batch->key_mask);
    free_const(batch->metric_mask);    /* loss_mask is one of the two */
}
