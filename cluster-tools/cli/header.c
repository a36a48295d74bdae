#include "cluster-tools/cli/header.h"

#include <stdbool.h>
#include <stdio.h>

/* One line with its end, LF or CRLF, or without one at the end of the file; *n grows. False: no
 * room. */
static bool take_line(FILE *f, char *buf, size_t *n, bool *is_last, bool *is_empty)
{
    size_t from = *n;
    int c;

    while ((c = getc(f)) != EOF && c != '\n') {
        if (*n >= LIMIT_POLICY_HEADER_BYTES - 2)
            return false;
        buf[(*n)++] = (char)c;
    }
    *is_last = c == EOF;
    if (*n > from && buf[*n - 1] == '\r' && c == '\n')
        (*n)--;
    *is_empty = *n == from;
    if (*is_last && *is_empty)
        return true;
    if (*n > LIMIT_POLICY_HEADER_BYTES - 2)
        return false;
    buf[(*n)++] = '\r';
    buf[(*n)++] = '\n';
    return true;
}

const char *header_read(const char *path, char buf[static LIMIT_POLICY_HEADER_BYTES], size_t *n)
{
    FILE *f = fopen(path, "re");
    bool is_last = false, is_empty = false, fits = true, failed;

    *n = 0;
    if (f == NULL)
        return "the file cannot be opened";
    while (fits && !is_last && !is_empty)
        fits = take_line(f, buf, n, &is_last, &is_empty);
    failed = ferror(f) != 0;
    fclose(f);
    if (failed)
        return "the file cannot be read";
    return fits ? NULL : "the header is longer than 45,000 bytes";
}
