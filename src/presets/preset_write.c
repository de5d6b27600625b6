/* preset_write.c - writing presets of any kind. */
#include "presets/preset_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct error *preset_write_text(const char *folder, const char *name, const char *text,
                                size_t bytes)
{
    char *path;
    TRY(preset_path(&path, folder, name));
    FILE *file = fopen(path, "wbe");
    bool good = file && fwrite(text, 1, bytes, file) == bytes && !fflush(file) &&
                !fsync(fileno(file));
    if (file)
        good &= !fclose(file);
    struct error *e = good ? NULL : error_errno(ERROR_IO, "cannot write %s", path);
    free(path);
    return e;
}

/* Both kinds of folder hold byte-level BPE tokenizers only. */
static struct error *check_tokenizer(const struct preset_content *content)
{
    if (content->spec->family == MODEL_GPT2 && content->tokenizer &&
        tokenizer_definition(content->tokenizer)->kind != TOKENIZER_BPE)
        return error_new(ERROR_USAGE, "a GPT-2 with a WordPiece tokenizer fits neither a KerasHub "
                         "preset nor a Hugging Face folder; write its weights as a "
                         ".weights.h5 file");
    return NULL;
}

struct error *preset_write(const char *path, enum preset_kind kind,
                           const struct preset_content *content)
{
    switch (kind) {
    case PRESET_KERAS:
        TRY(check_tokenizer(content));
        return keras_preset_write(path, content);
    case PRESET_HUGGING_FACE:
        TRY(check_tokenizer(content));
        return hugging_face_write(path, content);
    case PRESET_KERAS_WEIGHTS:
        return keras_weights_write(path, content);
    case PRESET_NONE:
        break;
    }
    BUG("a preset of no kind cannot be written");
}
