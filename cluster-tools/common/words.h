/* words: cuts a line of text into words. Pure. */
#pragma once

#include "base/str.h"

/* Cuts the first word, behind blanks and tabs, off *s; empty when there is none. */
static inline struct str words_cut(struct str *s)
{
    struct str word;
    size_t start = 0, n;

    while (start < s->n && (s->p[start] == ' ' || s->p[start] == '\t'))
        start++;
    for (n = start; n < s->n && s->p[n] != ' ' && s->p[n] != '\t'; n++)
        continue;
    word = str_from(str_head(*s, n), start);
    *s = str_from(*s, n);
    return word;
}
