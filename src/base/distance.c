/* distance.c - how far two names are from each other. */
#include "base/distance.h"

#include <string.h>

int name_distance(const char *a, const char *b)
{
    enum { LONGEST = 64 };
    int row[LONGEST + 1];
    const int n = (int)strnlen(b, LONGEST);
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            const int above = row[j];
            const int change = diagonal + (a[i - 1] != b[j - 1]);
            const int shorter = (above < row[j - 1] ? above : row[j - 1]) + 1;
            row[j] = change < shorter ? change : shorter;
            diagonal = above;
        }
    }
    return row[n];
}
