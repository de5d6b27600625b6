/*
 * shared_library.h - libraries that are loaded when they are needed.
 *
 * For the large libraries of the CUDA toolkit: a run on the CPU must neither wait for them nor need
 * them. Once loaded, a library stays until the process ends.
 */
#ifndef GALLEY_DEVICE_SHARED_LIBRARY_H
#define GALLEY_DEVICE_SHARED_LIBRARY_H

#include "base/error.h"

/* A function to look up, and where to write its address; a list ends with a name of NULL. */
struct shared_library_symbol {
    const char *name;
    void *pointer;    /* to a pointer to a function */
};

/* "libX.so." SHARED_LIBRARY_VERSION(X_MAJOR): the name of the version that the headers are of. */
#define SHARED_LIBRARY_TEXT_(x) #x
#define SHARED_LIBRARY_VERSION(major) SHARED_LIBRARY_TEXT_(major)

/* Loads `name` from the program's run path or the system's, and looks up all symbols. One clear
 * error that names the library, or the symbol it lacks. */
MUST_USE struct error *shared_library_load(const char *name,
                                           const struct shared_library_symbol *symbols);
/* The same for one that a run can do without. */
MUST_USE struct error *shared_library_find(const char *name,
                                           const struct shared_library_symbol *symbols);

#endif
