/* utf8.h - is this text? The check every source makes of every byte. */
#ifndef GALLEY_DATA_UTF8_H
#define GALLEY_DATA_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Offset of the first byte that is NUL or not part of valid UTF-8 (RFC 3629: shortest form, no
 * surrogates, up to U+10FFFF); `bytes` if there is none. */
size_t utf8_valid_prefix(const char *text, size_t bytes);

int64_t count_line_feeds(const char *text, size_t bytes);

#endif
