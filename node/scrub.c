#include "node/scrub.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mailbox.h"
#include "base/stats.h"

#define STEP_MS  250
#define ROUND_MS 3600000 /* rest between two rounds: a small spool is not read all day */

struct scrub {
    struct spool_scrub *walk;
    struct mailbox *box; /* anything in it means stop */
    uint64_t rate_bytes;
    pthread_t thread;
};

static void *scrub_main(void *arg)
{
    struct scrub *s = arg;
    struct pollfd p = {mailbox_fd(s->box), POLLIN, 0};
    uint64_t corrupt = 0, bad;
    int wait_ms = STEP_MS;

    while (poll(&p, 1, wait_ms) == 0) {
        bool round = false;

        bad = 0;
        if (spool_scrub_step(s->walk, s->rate_bytes * STEP_MS / 1000, &round, &bad) != OK)
            break; /* the environment failed: the writer will see it too */
        corrupt += bad;
        wait_ms = round ? ROUND_MS : STEP_MS;
        if (!round)
            continue;
        stat_add(STAT_SCRUB_ROUNDS_TOTAL, 1);
        LOG(EV_SCRUB_DONE, L_U64("corrupt", corrupt));
        corrupt = 0;
    }
    return NULL;
}

enum err scrub_start(struct scrub **out, struct spool *spool, uint64_t rate_bytes)
{
    struct scrub *s;
    enum err e;

    *out = NULL;
    if (rate_bytes == 0)
        return OK;
    s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    s->rate_bytes = rate_bytes;
    e = spool_scrub_open(spool, &s->walk);
    if (e != OK) {
        free(s);
        return e;
    }
    s->box = mailbox_new(1);
    if (pthread_create(&s->thread, NULL, scrub_main, s) != 0) {
        spool_scrub_close(&s->walk);
        mailbox_free(&s->box);
        free(s);
        return E_IO;
    }
    pthread_setname_np(s->thread, "scrub");
    *out = s;
    return OK;
}

void scrub_stop(struct scrub **sp)
{
    struct scrub *s = *sp;
    struct mail stop = {0};

    *sp = NULL;
    mailbox_answer(s->box, &stop);
    pthread_join(s->thread, NULL);
    mailbox_abandon(&s->box);
    spool_scrub_close(&s->walk);
    free(s);
}
