/*
 * leaf_sums.h - the gradients of a step's micro-batches, summed up a binary tree.
 *
 * Added one to the next, as backward does, they make a sum that depends on where the global batch
 * is cut into ranks. So each micro-batch is a leaf with a gradient of its own, and neighbours are
 * added, then neighbouring pairs, and so on; ranks go on with that tree (comm/collectives_tree.c).
 * Its leaves are the same for every number of ranks, and so is the sum. Costs a buffer of the
 * gradients' size for each level of the tree within the rank, and reading and writing them once
 * more for every leaf.
 */
#ifndef GALLEY_TRAIN_LEAF_SUMS_H
#define GALLEY_TRAIN_LEAF_SUMS_H

#include "kernels/kernels.h"
#include "model/gpt.h"

struct leaf_sums;

/* `leaves` of a step on this rank, a power of two. All pointers are borrowed. */
MUST_USE struct error *leaf_sums_create(struct leaf_sums **out, struct device *device,
                                        const struct kernels *kernels, struct model *model,
                                        int leaves);
void leaf_sums_destroy(struct leaf_sums *sums);

/* After backward of leaf i, from 0 on, each once: takes the model's gradients in. After the last
 * one they are the sum of all; before the next one they must be zeroed. */
void leaf_sums_add(struct leaf_sums *sums, int leaf);

#endif
