/* token_header.c - the header of .bin files of llm.c and modded-nanogpt. */
#include "data/token_header.h"

#include <string.h>

static const struct format {
    int32_t magic, version;
    int width;
    const char *name;
} formats[] = {
    {20240520, 1, 2, "llm.c, uint16"},
    {20240801, 7, 4, "llm.c, uint32"},
};

static const struct format *format_of(const void *head, size_t bytes)
{
    int32_t magic;
    if (bytes < sizeof magic)
        return NULL;
    memcpy(&magic, head, sizeof magic);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].magic == magic)
            return &formats[i];
    return NULL;
}

bool token_header_is_one(const void *head, size_t bytes)
{
    return format_of(head, bytes);
}

struct error *token_header_parse(struct token_header *out, const void *head, size_t bytes,
                                 const char *path)
{
    const struct format *const f = format_of(head, bytes);
    int32_t header[3];
    if (!f)
        BUG("no header of a known format");
    if (bytes < TOKEN_HEADER_BYTES)
        return error_new(ERROR_INPUT, "%s ends in its header, after %zu bytes, expected %d; copy "
                         "or send it again, whole", path, bytes, TOKEN_HEADER_BYTES);
    memcpy(header, head, sizeof header);
    if (header[1] != f->version)
        return error_new(ERROR_INPUT, "%s is of version %d of its format (magic number %d), "
                         "expected %d; write it anew with the current script of llm.c or "
                         "modded-nanogpt", path,
                         header[1], header[0], f->version);
    if (header[2] < 0)
        return error_new(ERROR_INPUT, "%s says that it holds %d tokens, expected 0 or more; "
                         "copy it again",
                         path, header[2]);
    *out = (struct token_header){.format = f->name, .width = f->width, .tokens = header[2]};
    return NULL;
}
