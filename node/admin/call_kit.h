/* A table of commands without a daemon, for the tests and the fuzzer of the control socket. */
#pragma once

#include <stdlib.h>

#include "node/admin/call.h"

struct kit_state {
    uint64_t done;
    bool waited;
    void *owned;
};

/* What the commands tell their test; the ctx of the table. */
struct kit {
    uint64_t steps, ended;
    uint64_t number; /* of the last call that waits */
};

static inline void kit_end(struct admin_call *c, void *state)
{
    struct kit_state *s = state;
    struct kit *kit = c->ctx;

    free(s->owned);
    kit->ended++;
}

/* Says back every argument, each by the accessor of its type. */
static inline enum admin_next kit_echo(struct admin_call *c, void *state)
{
    struct kit *kit = c->ctx;
    json_t *row = json_object();

    (void)state;
    kit->steps++;
    if (admin_text(c, "text").p != NULL)
        admin_set_text(row, "text", admin_text(c, "text"));
    admin_set_u64(row, "count", admin_count(c, "count", 7));
    admin_set(row, "flag", json_boolean(admin_flag(c, "flag")));
    for (size_t i = 0; i < admin_texts(c, "list"); i++)
        admin_set_text(row, "last", admin_texts_at(c, "list", i));
    admin_emit(c, row);
    return admin_done(c, ADMIN_EXIT_OK, json_pack("{s:i}", "extra", 1));
}

/* `count` rows of about 1 KiB, one a step. */
static inline enum admin_next kit_many(struct admin_call *c, void *state)
{
    static const char filler[1000];
    struct kit_state *s = state;
    struct kit *kit = c->ctx;
    json_t *row;

    kit->steps++;
    if (s->owned == NULL)
        s->owned = malloc(1);
    if (s->done++ >= admin_count(c, "count", 0))
        return admin_done(c, ADMIN_EXIT_OK, NULL);
    row = json_object();
    admin_set_u64(row, "n", s->done);
    admin_set(row, "filler", json_string_nocheck("x"));
    admin_set_text(row, "zeros", (struct str){filler, 300});
    admin_emit(c, row);
    return ADMIN_AGAIN;
}

/* Waits for a wake, at most `ms`. */
static inline enum admin_next kit_sleep(struct admin_call *c, void *state)
{
    struct kit_state *s = state;
    struct kit *kit = c->ctx;

    kit->steps++;
    if (!s->waited) {
        s->waited = true;
        kit->number = c->number;
        return admin_wait(c, admin_count(c, "ms", 0));
    }
    return admin_done(c, c->timed_out ? ADMIN_EXIT_TEMPORARY : ADMIN_EXIT_OK, NULL);
}

static inline enum admin_next kit_fail(struct admin_call *c, void *state)
{
    struct kit *kit = c->ctx;

    (void)state;
    kit->steps++;
    return admin_fail(c, ADMIN_EXIT_NEGATIVE, "no\n\x1b[31m", "here", NULL);
}

/* A moment far and near, and an error that says all it can. */
static inline enum admin_next kit_time(struct admin_call *c, void *state)
{
    struct kit *kit = c->ctx;
    json_t *row = json_object();

    (void)state;
    kit->steps++;
    admin_set_time(row, "past", -(int64_t)admin_count(c, "s", 0));
    admin_set_time(row, "time", (int64_t)admin_count(c, "s", 0) * 1000 + 7);
    admin_set_u64(row, "s", admin_given(c, "s") ? UINT64_MAX : 0);
    admin_emit(c, row);
    if (admin_given(c, "s"))
        return admin_fail(c, ADMIN_EXIT_NEGATIVE, "no", NULL, "try again");
    admin_emit(c, NULL);
    admin_emit(c, json_object());
    return admin_done(c, ADMIN_EXIT_OK, json_object());
}

static const struct admin_arg kit_time_args[] = {
    {"s", ADMIN_ARG_COUNT, INT64_MAX / 1000, false}};
static const struct admin_arg kit_echo_args[] = {
    {"text", ADMIN_ARG_TEXT, 32, false},
    {"count", ADMIN_ARG_COUNT, 1000, false},
    {"flag", ADMIN_ARG_BOOL, 0, false},
    {"list", ADMIN_ARG_TEXTS, 3, false},
};
static const struct admin_arg kit_many_args[] = {{"count", ADMIN_ARG_COUNT, 1000000, true}};
static const struct admin_arg kit_sleep_args[] = {{"ms", ADMIN_ARG_COUNT, 1000000, true}};

static const struct admin_command kit_commands[] = {
    {"echo", kit_echo_args, 4, true, 0, kit_echo, NULL},
    {"many", kit_many_args, 1, false, sizeof(struct kit_state), kit_many, kit_end},
    {"sleep", kit_sleep_args, 1, false, sizeof(struct kit_state), kit_sleep, kit_end},
    {"time", kit_time_args, 1, false, 0, kit_time, NULL},
    {"fail", NULL, 0, false, sizeof(struct kit_state), kit_fail, kit_end},
};

static inline struct admin_table kit_table(struct kit *kit)
{
    return (struct admin_table){kit_commands, sizeof kit_commands / sizeof *kit_commands, kit};
}
