/*
 * shard_file.h - token shards: a stretch of a tokenized text in one HDF5 file.
 *
 * /tokens is an array of uint16 or uint32 in chunks of SHARD_CHUNK_BYTES; /documents (int64) are
 * the places in it where documents begin; attributes of the file say how many, from which
 * tokenizer, and which part of the whole this is. Anybody can read it:
 * h5py.File(path)["tokens"][:1000].
 *
 * A manifest in front of the file (manifest.h) holds a hash of every chunk and of the rest. Opening
 * checks the manifest and the rest, reading checks each chunk when it first touches it; so nothing
 * damaged is taken for good, and HDF5 sees no damaged structure. Chunks are read at their place in
 * the file, by any number of threads, without HDF5.
 *
 * A shard that is written appears whole, checked and on disk, or not at all (output.h). Opening and
 * writing go through HDF5, which is for one thread at a time.
 */
#ifndef GALLEY_FORMATS_SHARD_FILE_H
#define GALLEY_FORMATS_SHARD_FILE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { SHARD_CHUNK_BYTES = 1 << 18, SHARD_NAME_BYTES = 32 };
/* Of one shard: its manifest then has room for all chunks, also where every token is a document. */
#define SHARD_MOST_TOKENS (INT64_C(1) << 32)

struct shard_facts {
    int width;                      /* bytes of a token: 2 or 4 */
    int64_t tokens, documents;      /* in it; documents that begin in it */
    int64_t first_token;            /* of it in the whole text, from 0 */
    int64_t shard, shards;          /* which of how many, from 0 */
    int64_t largest_token;
    int64_t vocabulary_size;
    int64_t end_token;              /* the last token of each document, or -1 */
    int64_t start_token;            /* the first token of each document, or -1 */
    uint64_t tokenizer;             /* its fingerprint */
    uint64_t made_from;             /* hash of inputs and options, by which an interrupted run goes
                                     * on */
    char tokenizer_kind[SHARD_NAME_BYTES];    /* "bpe" */
    char part[SHARD_NAME_BYTES];              /* "train", "validation" */
};

/* Bytes of a token of such a vocabulary. */
static inline int shard_width(int64_t vocabulary_size)
{
    return vocabulary_size <= 1 << 16 ? 2 : 4;
}

/* ---- reading ---- */

struct shard;

/* The beginning of a shard; at least 16 bytes of a file tell. */
int shard_is_one(const char *head, size_t bytes);
MUST_USE struct error *shard_open(struct shard **out, const char *path);
/* NULL is fine. */
void shard_close(struct shard *shard);
const struct shard_facts *shard_facts(const struct shard *shard);
/* Hash of the whole content. */
uint64_t shard_fingerprint(const struct shard *shard);

/*
 * Tokens [first, first + count) as they stand in the file (`width` bytes each, little-endian) to
 * `out`. `scratch`, of SHARD_CHUNK_BYTES, is the calling thread's. A chunk that is not what was
 * written, or a file that has changed since it was opened, is an error that names the file.
 */
MUST_USE struct error *shard_read(struct shard *shard, int64_t first, int64_t count, void *out,
                                  void *scratch);
/* The places where documents [first, first + count) begin. */
MUST_USE struct error *shard_read_documents(struct shard *shard, int64_t first, int64_t count,
                                            int64_t *places, void *scratch);
/* Reads and checks every byte. */
MUST_USE struct error *shard_verify(const char *path);

/* ---- writing ---- */

struct shard_writer;

/* All facts but largest_token are final. */
MUST_USE struct error *shard_create(struct shard_writer **out, const char *path,
                                    const struct shard_facts *facts);
/* The next tokens, of the width of the facts; then, after all of them, the places of documents. */
MUST_USE struct error *shard_write_tokens(struct shard_writer *writer, const void *tokens,
                                          int64_t count);
MUST_USE struct error *shard_write_documents(struct shard_writer *writer, const int64_t *places,
                                             int64_t count);
/* Ends the writer: the file is whole and on disk under its name, or an error says why not and
 * nothing is left. */
MUST_USE struct error *shard_finish(struct shard_writer *writer, int64_t largest_token);
/* Ends the writer without a file; NULL is fine. */
void shard_discard(struct shard_writer *writer);

#endif
