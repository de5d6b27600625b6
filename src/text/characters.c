/* characters.c - the table of classes, and what is asked too rarely to be in it. */
#include "text/characters.h"

#include <stdlib.h>
#include <string.h>

/* White_Space is category Z and a few control characters. */
static enum character_class class_of(int32_t c)
{
    if ((c >= '\t' && c <= '\r') || c == 0x85)
        return CHARACTER_SPACE;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return CHARACTER_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return CHARACTER_NUMBER;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return CHARACTER_SPACE;
    default:
        return CHARACTER_OTHER;
    }
}

struct error *characters_create(struct characters **out)
{
    struct characters *c = calloc(1, sizeof *c);
    if (c)
        c->blocks = malloc(CHARACTER_BLOCKS * sizeof *c->blocks);
    if (!c || !c->blocks) {
        free(c);
        return error_new(ERROR_MEMORY, "no memory for the classes of characters");
    }
    int count = 0;
    for (int b = 0; b < CHARACTER_BLOCKS; b++) {
        for (int i = 0; i < CHARACTER_BLOCK; i++)
            c->blocks[count][i] = (uint8_t)class_of(b * CHARACTER_BLOCK + i);
        int same = 0;
        while (memcmp(c->blocks[same], c->blocks[count], CHARACTER_BLOCK))
            same++;
        c->block_of[b] = (uint16_t)same;
        count += same == count;
    }
    uint8_t (*smaller)[CHARACTER_BLOCK] = realloc(c->blocks, (size_t)count * sizeof *c->blocks);
    c->blocks = smaller ? smaller : c->blocks;
    *out = c;
    return NULL;
}

void characters_destroy(struct characters *characters)
{
    if (!characters)
        return;
    free(characters->blocks);
    free(characters);
}

const char *character_before(const char *text, const char *end)
{
    const char *last = end - 1;
    while (last > text && end - last < 4 && ((unsigned char)*last & 0xC0) == 0x80)
        last--;
    return last;
}

/* Letters by their property rather than their category: circled and squared ones, which are
 * symbols. */
static bool is_letter_by_property(int32_t c)
{
    return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
           (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

bool character_is_of_word(const char *at, const char *end)
{
    utf8proc_int32_t c;
    if (utf8proc_iterate((const utf8proc_uint8_t *)at, (utf8proc_ssize_t)(end - at), &c) <= 0)
        return false;
    if (class_of(c) == CHARACTER_LETTER)
        return true;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return is_letter_by_property(c) || c == 0x200C || c == 0x200D;    /* the joiners */
    }
}
