/* For the tests and the fuzzer of auth_strip: the same by another way. The whole header at
 * once, each field found by auth_results_find() cut out. */
#pragma once

#include <stdlib.h>

#include "node/policy/auth_results.h"

#define ORACLE_ID STR("mx.example")

/* Gives what stays of the message. */
static inline struct str oracle_strip(struct str message, uint32_t *removed)
{
    char *out = malloc(message.n + 1);
    size_t n = 0;
    struct str field;

    ASSERT(out != NULL);
    *removed = 0;
    while (auth_results_find(message, ORACLE_ID, &field)) {
        size_t before = (size_t)(field.p - message.p);

        memcpy(out + n, message.p, before);
        n += before;
        message = str_from(message, before + field.n);
        ++*removed;
        if (message.n > 0 && message.p[0] == '\r')
            break;
    }
    if (message.n > 0)
        memcpy(out + n, message.p, message.n);
    return (struct str){out, n + message.n};
}
