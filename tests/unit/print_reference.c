/* print_reference.c - the reference page of the configuration on standard output: what
 * configs/REFERENCE.md must hold (print_reference > configs/REFERENCE.md renews it). */
#include "base/config.h"

int main(void)
{
    config_help(stdout, true);
    return 0;
}
