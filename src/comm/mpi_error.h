/* mpi_error.h - MPI's return codes as errors; for src/comm only. */
#ifndef GALLEY_COMM_MPI_ERROR_H
#define GALLEY_COMM_MPI_ERROR_H

#include "base/error.h"

/* NULL where `code` is MPI_SUCCESS; else an error with MPI's own words. */
MUST_USE struct error *mpi_check(int code, const char *call);

#endif
