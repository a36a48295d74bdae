/* Requests of any form: the answer is whole lines of JSON in ASCII, the last one says done or
 * error, and nothing is left over. */
#include "node/admin/call.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "node/admin/call_kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 64

struct out {
    char *text;
    size_t n, size;
};

static void collect(void *to, const char *bytes, size_t count)
{
    struct out *o = to;

    if (o->n + count > o->size) {
        o->size = 2 * (o->n + count);
        o->text = realloc(o->text, o->size);
        ASSERT(o->text != NULL);
    }
    memcpy(o->text + o->n, bytes, count);
    o->n += count;
}

static void check(const struct out *o, bool is_whole)
{
    struct str rest = {o->text, o->n};
    bool ended = false;

    while (rest.n > 0) {
        struct str line = str_split(&rest, '\n');
        json_t *v = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, NULL);

        ASSERT(json_is_object(v) && !ended);
        ended = json_object_get(v, "exit") != NULL;
        for (size_t i = 0; i < line.n; i++)
            ASSERT(line.p[i] >= 0x20 && line.p[i] < 0x7f);
        json_decref(v);
    }
    ASSERT(ended == is_whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kit kit = {0};
    struct admin_table t = kit_table(&kit);
    struct out o = {NULL, 0, 0};
    struct admin_call c = {.sink = {collect, &o}};
    char *copy = malloc(size > 0 ? size : 1);
    enum admin_next next = ADMIN_END;

    ASSERT(copy != NULL);
    memcpy(copy, data, size);
    if (admin_call_begin(&c, &t, (struct str){copy, size})) {
        free(copy);
        next = ADMIN_AGAIN;
        for (int i = 0; i < STEPS_MAX && next != ADMIN_END; i++) {
            c.timed_out = next == ADMIN_WAIT;
            next = admin_call_step(&c);
        }
        admin_call_end(&c);
    } else {
        free(copy);
    }
    check(&o, next == ADMIN_END);
    free(o.text);
    return 0;
}
