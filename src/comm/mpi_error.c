/* mpi_error.c - MPI's return codes as errors. */
#include "comm/mpi_error.h"

#include <mpi.h>

struct error *mpi_check(int code, const char *call)
{
    if (code == MPI_SUCCESS)
        return NULL;
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    MPI_Error_string(code, text, &length);
    return error_new(ERROR_COMMUNICATION, "%s failed: %.*s", call, length, text);
}
