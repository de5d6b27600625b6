/* shared_library.c - libraries that are loaded when they are needed. */
#include "device/shared_library.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

static struct error *find_symbols(void *library, const char *name,
                                  const struct shared_library_symbol *symbols)
{
    for (const struct shared_library_symbol *s = symbols; s->name; s++) {
        void *address = dlsym(library, s->name);
        if (!address)
            return error_new(ERROR_DEVICE, "%s lacks the function %s; install a newer version",
                             name, s->name);
        memcpy(s->pointer, &address, sizeof address);    /* C has no cast from data to code */
    }
    return NULL;
}

struct error *shared_library_load(const char *name, const struct shared_library_symbol *symbols)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return error_new(ERROR_DEVICE, "cannot load %s, which a GPU run needs: %s; install it or "
                         "put its folder into LD_LIBRARY_PATH, or set device.kind to cpu", name,
                         dlerror());
    return find_symbols(library, name, symbols);
}

struct error *shared_library_find(const char *name, const struct shared_library_symbol *symbols)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return error_new(ERROR_DEVICE, "there is no %s: %s", name, dlerror());
    return find_symbols(library, name, symbols);
}
