/* distance.h - how far two names are from each other: finds what a mistyped one was meant to be. */
#ifndef GALLEY_BASE_DISTANCE_H
#define GALLEY_BASE_DISTANCE_H

/* Levenshtein's distance; of `b` only the first 64 bytes count. */
int name_distance(const char *a, const char *b);

#endif
