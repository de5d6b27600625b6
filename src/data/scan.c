/*
 * scan.c - finds the samples of text.
 *
 * The fingerprint is XXH3 over the bytes of every sample in order, each followed by its separator.
 * So it does not depend on names, packing, cuts into files, carriage returns or lines that are too
 * short, only on what training sees.
 */
#include "data/scan.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

enum { PENDING = 8192 };    /* addresses written at once */

static const double first_report_s = 1, report_every_s = 5;

struct scan {
    const struct scan_options *options;
    struct source *source;
    struct spool *addresses, *unpacked;
    struct sample_index index;

    int64_t lines, longest_any;    /* of all lines, for the message when none is long enough */
    XXH3_state_t *hash;
    int64_t pending[PENDING];
    size_t pending_count;

    double started, next_report;
};

static struct error *flush_addresses(struct scan *s)
{
    const size_t bytes = s->pending_count * sizeof *s->pending;
    s->pending_count = 0;
    return spool_write(s->addresses, s->pending, bytes);
}

static void hash_line(struct scan *s, const char *line, const char *end, bool without_cr,
                      char separator)
{
    while (!without_cr && line < end) {
        const char *const cr = memchr(line, '\r', (size_t)(end - line));
        if (!cr)
            break;
        XXH3_64bits_update(s->hash, line, (size_t)(cr - line));
        line = cr + 1;
    }
    XXH3_64bits_update(s->hash, line, (size_t)(end - line));
    XXH3_64bits_update(s->hash, &separator, 1);
}

static int64_t count_cr(const char *line, const char *end)
{
    int64_t count = 0;
    for (; line < end; line++)
        count += *line == '\r';
    return count;
}

static struct error *scan_block(struct scan *s, const struct source_block *block)
{
    struct sample_index *const index = &s->index;
    const int64_t address = index->files[index->file_count - 1].start + block->offset;
    const char separator = block->separator;
    /* The CRs of a document stay, as its line feeds do. */
    const bool without_cr = separator != '\n' || !memchr(block->text, '\r', block->bytes);
    const char *const end = block->text + block->bytes;
    for (const char *line = block->text, *stop; line < end; line = stop + 1) {
        stop = memchr(line, separator, (size_t)(end - line));
        if (!stop)
            stop = end;
        const int64_t raw = stop - line;
        const int64_t bytes = without_cr ? raw : raw - count_cr(line, stop);
        s->lines++;
        if (bytes > s->longest_any)
            s->longest_any = bytes;
        if (bytes < s->options->min_bytes)
            continue;

        if (raw > index->longest_line)
            index->longest_line = raw;
        index->samples++;
        index->sample_bytes += bytes;
        hash_line(s, line, stop, without_cr, separator);
        s->pending[s->pending_count++] = address + (line - block->text);
        if (s->pending_count == PENDING)
            TRY(flush_addresses(s));
    }
    return NULL;
}

/* Enters the file that a first block came from. */
static struct error *begin_file(struct scan *s, char separator)
{
    struct sample_index *const index = &s->index;
    const struct file_facts *const facts = source_facts(s->source);
    struct indexed_file file = {
        .unpacked_at = -1,
        .separator = separator,
        .disk_bytes = facts->bytes,
        .modified_ns = facts->modified_ns,
    };
    if (index->file_count) {
        const struct indexed_file *const before = &index->files[index->file_count - 1];
        file.start = before->start + before->bytes;
    }
    if (facts->packing != PACKING_NONE || separator != '\n') {
        if (s->unpacked->fd < 0)
            TRY(spool_create(s->unpacked, s->options->folder, s->options->text_name));
        file.unpacked_at = s->unpacked->bytes;
    }
    index->files[index->file_count++] = file;
    return NULL;
}

static void report_progress(struct scan *s)
{
    const double now = clock_now_s();
    if (!s->options->show_progress || now < s->next_report)
        return;
    s->next_report = now + report_every_s;
    log_info("scanning the %s data: %.0f %% of %d files, %lld samples so far", s->options->name,
             100 * source_progress(s->source), source_files(s->source),
             (long long)s->index.samples);
}

static struct error *scan_blocks(struct scan *s)
{
    struct source_block block = {0};
    struct error *e;
    while (!(e = source_read(s->source, &block)) && block.bytes) {
        if (block.offset == 0 && (e = begin_file(s, block.separator)))
            break;
        struct indexed_file *const file = &s->index.files[s->index.file_count - 1];
        file->bytes += (int64_t)block.bytes;
        if (file->unpacked_at >= 0 && (e = spool_write(s->unpacked, block.text, block.bytes)))
            break;
        if ((e = scan_block(s, &block)))
            break;
        report_progress(s);
    }
    source_block_release(&block);
    return e;
}

static struct error *finish(struct scan *s)
{
    struct sample_index *const index = &s->index;
    if (!index->samples)
        return error_new(ERROR_INPUT, "none of the %lld lines of the %s data has at least %lld "
                         "bytes (data.min_bytes); the longest has %lld; lower that minimum",
                         (long long)s->lines, s->options->name, (long long)s->options->min_bytes,
                         (long long)s->longest_any);
    TRY(flush_addresses(s));
    index->unpacked_bytes = s->unpacked->fd < 0 ? 0 : s->unpacked->bytes;
    index->fingerprint = XXH3_64bits_digest(s->hash);
    const double seconds = clock_now_s() - s->started;
    if (s->options->show_progress && seconds > first_report_s)
        log_info("scanned the %s data: %lld samples in %lld lines, %.1f s", s->options->name,
                 (long long)index->samples, (long long)s->lines, seconds);
    return NULL;
}

struct error *scan_text(struct sample_index *out, struct source *source,
                        const struct scan_options *options, struct spool *addresses,
                        struct spool *unpacked)
{
    struct error *e;
    struct scan *s = calloc(1, sizeof *s);
    if (!s)
        return error_new(ERROR_MEMORY, "no memory to scan the %s data", options->name);
    s->options = options;
    s->source = source;
    s->addresses = addresses;
    s->unpacked = unpacked;
    s->started = clock_now_s();
    s->next_report = s->started + first_report_s;
    s->hash = XXH3_createState();
    s->index.files = calloc((size_t)source_files(source), sizeof *s->index.files);
    if (!s->hash || !s->index.files) {
        e = error_new(ERROR_MEMORY, "no memory to scan %d files of %s data", source_files(source),
                      options->name);
        goto done;
    }
    XXH3_64bits_reset(s->hash);
    if ((e = scan_blocks(s)) || (e = finish(s)))
        goto done;
    *out = s->index;
    s->index = (struct sample_index){0};

done:
    sample_index_release(&s->index);
    XXH3_freeState(s->hash);
    free(s);
    return e;
}
