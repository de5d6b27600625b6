/*
 * age_checkpoint.c - makes a checkpoint one of an earlier format, as far as its number goes.
 *
 *     age_checkpoint FILE FORMAT
 */
#include "formats/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hdf5.h>

/* The manifest's room, which its second line says. */
static size_t room_of(const char *path)
{
    size_t room = 0;
    FILE *const f = fopen(path, "r");
    if (!f || fscanf(f, "%*[^\n] room %zu", &room) != 1)
        room = 0;
    if (f)
        fclose(f);
    return room;
}

int main(int argc, char **argv)
{
    struct manifest manifest;
    if (argc != 3)
        return 2;
    struct error *e = manifest_read(argv[1], "checkpoint", &manifest);
    const int64_t format = strtoll(argv[2], NULL, 10);
    if (!e) {
        const hid_t file = H5Fopen(argv[1], H5F_ACC_RDWR, H5P_DEFAULT);
        const hid_t attribute = H5Aopen(file, "format", H5P_DEFAULT);
        if (H5Awrite(attribute, H5T_NATIVE_INT64, &format) < 0)
            return 1;
        H5Aclose(attribute);
        H5Fclose(file);
        e = manifest_write(argv[1], "checkpoint", &manifest, room_of(argv[1]));
        manifest_release(&manifest);
    }
    if (e)
        fprintf(stderr, "%s\n", error_message(e));
    const int code = e != NULL;
    error_destroy(e);
    return code;
}
