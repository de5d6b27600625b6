/* help.h - pages of help that belong to no verb: what to do when something went wrong. */
#ifndef GALLEY_CLI_HELP_H
#define GALLEY_CLI_HELP_H

#include <stdio.h>

struct help_page {
    const char *name;
    const char *summary;      /* a line in `galley help` */
    const char *text;
};

extern const struct help_page help_pages[];
extern const int help_page_count;

#endif
