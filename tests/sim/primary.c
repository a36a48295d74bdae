/* The customers' own servers: scripted machines of the world, good or bad as told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/sim.h"

struct primary_conn {
    unsigned primary;
    bool greeted, in_data, dead;
    bool mute; /* it was silent once: what it did not read then it never answers */
    char line[512];
    size_t line_n;
    char rcpts[CHECK_RCPTS][64];
    uint32_t rcpt_count;
    char *data;
    size_t data_n, data_room;
};

static enum primary_temper tempers[SIM_DOMAINS];

void primary_set(unsigned i, enum primary_temper t)
{
    ASSERT(i < SIM_DOMAINS);
    tempers[i] = t;
}

enum primary_temper primary_get(unsigned i)
{
    ASSERT(i < SIM_DOMAINS);
    return tempers[i];
}

struct primary_conn *primary_accept(unsigned i)
{
    struct primary_conn *p = calloc(1, sizeof *p);

    ASSERT(p != NULL);
    p->primary = i;
    return p;
}

void primary_free(struct primary_conn *p)
{
    free(p->data);
    free(p);
}

static void keep(struct primary_conn *p, const char *b, size_t n)
{
    if (p->data_n + n > p->data_room) {
        p->data_room = 2 * (p->data_n + n);
        p->data = realloc(p->data, p->data_room);
        ASSERT(p->data != NULL);
    }
    memcpy(p->data + p->data_n, b, n);
    p->data_n += n;
}

/* The dot came. What it answers; NULL: it cuts. */
static const char *dot(struct primary_conn *p)
{
    enum primary_temper t = tempers[p->primary];

    if (t == PRIMARY_DEFERS)
        return "451 4.2.0 later\r\n";
    for (uint32_t i = 0; i < p->rcpt_count; i++) {
        if (t == PRIMARY_REFUSES)
            check_permanent(str_of(p->rcpts[i]));
        else
            check_taken(str_of(p->rcpts[i]), (struct str){p->data, p->data_n});
    }
    if (t == PRIMARY_REFUSES)
        return "550 5.1.1 never\r\n";
    return t == PRIMARY_DROPS ? NULL : "250 2.0.0 taken\r\n";
}

static void data_line(struct primary_conn *p)
{
    size_t skip = p->line[0] == '.' ? 1 : 0;

    keep(p, p->line + skip, p->line_n - skip);
}

static const char *command(struct primary_conn *p)
{
    enum primary_temper t = tempers[p->primary];
    char path[64];

    if (strncmp(p->line, "EHLO", 4) == 0)
        return "250-primary\r\n250-PIPELINING\r\n250 8BITMIME\r\n";
    if (strncmp(p->line, "MAIL", 4) == 0 || strncmp(p->line, "RSET", 4) == 0) {
        p->rcpt_count = 0;
        p->data_n = 0;
        return "250 2.0.0 ok\r\n";
    }
    if (sscanf(p->line, "RCPT TO:<%60[^>]>", path) == 1) {
        if (t == PRIMARY_GREY)
            return "450 4.7.1 greylisted\r\n";
        if (p->rcpt_count == CHECK_RCPTS)
            return "452 4.5.3 too many\r\n";
        snprintf(p->rcpts[p->rcpt_count++], sizeof p->rcpts[0], "%s", path);
        return "250 2.1.5 ok\r\n";
    }
    if (strncmp(p->line, "DATA", 4) == 0) {
        if (p->rcpt_count == 0)
            return "503 5.5.1 nobody\r\n";
        p->in_data = true;
        return "354 go on\r\n";
    }
    if (strncmp(p->line, "QUIT", 4) == 0) {
        p->dead = true;
        return "221 bye\r\n";
    }
    return "500 5.5.2 what\r\n";
}

static const char *line_done(struct primary_conn *p, bool *cut)
{
    const char *answer = "";

    if (!p->in_data) {
        answer = command(p);
    } else if (p->line_n == 3 && p->line[0] == '.') {
        p->in_data = false;
        answer = dot(p);
        *cut = answer == NULL;
        p->rcpt_count = 0;
        p->data_n = 0;
    } else {
        data_line(p);
        *cut = tempers[p->primary] == PRIMARY_CUTS_BODY;
    }
    p->line_n = 0;
    return answer;
}

size_t primary_feed(struct primary_conn *p, struct str in, char *out, size_t room, bool *close,
                    uint64_t *delay_us)
{
    size_t n = 0;
    bool cut = false;

    *delay_us =
        tempers[p->primary] == PRIMARY_SLOW ? world_between(1 * SECOND, 20 * SECOND) : 0;
    *close = false;
    p->mute = p->mute || tempers[p->primary] == PRIMARY_SILENT;
    if (p->dead || p->mute)
        return 0;
    if (!p->greeted) {
        p->greeted = true;
        n = (size_t)snprintf(out, room, "220 primary ESMTP\r\n");
    }
    for (size_t i = 0; i < in.n && !cut && !p->dead; i++) {
        const char *answer;

        if (p->line_n < sizeof p->line)
            p->line[p->line_n++] = in.p[i];
        if (in.p[i] != '\n')
            continue;
        if (p->line_n < sizeof p->line)
            p->line[p->line_n] = 0;
        answer = line_done(p, &cut);
        if (!cut && answer != NULL && n + strlen(answer) < room) {
            memcpy(out + n, answer, strlen(answer));
            n += strlen(answer);
        }
    }
    if (cut)
        p->dead = true;
    *close = p->dead;
    return n;
}
