#include "node/dnsbl_set.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "node/config_dnsbl.h"

/* Of a list and a family. */
struct live {
    atomic_uint
        state; /* enum dnsbl_state, and the reason above it: one value, so that both fit */
    atomic_uint complaint; /* an answer; 0: none */
};

struct dnsbl_set {
    size_t count;
    int32_t threshold;
    struct dnsbl_list lists[LIMIT_DNSBL_LISTS];
    char zones[LIMIT_DNSBL_LISTS][LIMIT_SMTP_DOMAIN_BYTES + 1];
    char keys[LIMIT_DNSBL_LISTS][LIMIT_DNSBL_KEY_BYTES + 1];
    struct live live[LIMIT_DNSBL_LISTS][2];
};

/* The first line, without what stands around it. False: *why says why not. */
static bool read_key(struct str path, char key[LIMIT_DNSBL_KEY_BYTES + 1], char *why,
                     size_t size)
{
    char name[4096], line[LIMIT_DNSBL_KEY_BYTES + 3] = "";
    struct str s;
    FILE *f;

    f = str_to_z(path, name, sizeof name) ? fopen(name, "re") : NULL;
    if (f == NULL) {
        snprintf(why, size, STR_FMT ": %s", STR_ARG(path), strerror(errno));
        return false;
    }
    if (fgets(line, sizeof line, f) == NULL)
        line[0] = 0;
    fclose(f);
    s = str_of(line);
    while (str_ends(s, '\n') || str_ends(s, '\r') || str_ends(s, ' '))
        s.n--;
    if (s.n == 0 || !str_to_z(s, key, LIMIT_DNSBL_KEY_BYTES + 1)) {
        snprintf(why, size, STR_FMT ": its first line is no key", STR_ARG(path));
        return false;
    }
    return true;
}

/* A key makes a label of the names that are asked for: it is tried with one. */
static bool makes_names(const struct dnsbl_list *l)
{
    struct ip_addr longest = {{0x20, 1}};
    char buf[DNSBL_NAME_BYTES];
    struct str name;

    return dnsbl_name(l, &longest, buf, &name);
}

static bool add_list(struct dnsbl_set *s, const char *text, char *why, size_t size)
{
    size_t i = s->count++;
    struct dnsbl_list *l = &s->lists[i];
    struct config_dnsbl c;

    ASSERT(config_dnsbl_parse(str_of(text), &c) == NULL); /* node/config.c refuses others */
    ASSERT(str_to_z(c.zone, s->zones[i], sizeof s->zones[i]));
    l->zone = str_of(s->zones[i]);
    if (c.key_file.n > 0 && !read_key(c.key_file, s->keys[i], why, size))
        return false;
    l->key = str_of(s->keys[i]);
    l->range_count = c.answer_count;
    for (size_t k = 0; k < c.answer_count; k++)
        l->ranges[k] =
            (struct dnsbl_range){c.answers[k].low, c.answers[k].high, c.answers[k].weight};
    if (makes_names(l))
        return true;
    snprintf(why, size, "dnsbl.lists: " STR_FMT "%s does not make DNS names", STR_ARG(l->zone),
             c.key_file.n > 0 ? " with the key in its file" : "");
    return false;
}

struct dnsbl_set *dnsbl_set_new(const struct node_config *c, char *why, size_t size)
{
    struct dnsbl_set *s = calloc(1, sizeof *s);

    ASSERT(s != NULL && c->dnsbl.lists.n <= LIMIT_DNSBL_LISTS);
    s->threshold = (int32_t)c->dnsbl.threshold;
    for (size_t i = 0; s != NULL && i < c->dnsbl.lists.n; i++)
        if (!add_list(s, c->dnsbl.lists.v[i], why, size))
            dnsbl_set_free(&s);
    return s;
}

void dnsbl_set_free(struct dnsbl_set **s)
{
    if (*s != NULL)
        explicit_bzero((*s)->keys, sizeof(*s)->keys);
    free(*s);
    *s = NULL;
}

size_t dnsbl_set_lists(const struct dnsbl_set *s, const struct dnsbl_list **lists)
{
    *lists = s->lists;
    return s->count;
}

int32_t dnsbl_set_threshold(const struct dnsbl_set *s)
{
    return s->threshold;
}

static enum dnsbl_state state_of(const struct live *l)
{
    return (enum dnsbl_state)(atomic_load(&l->state) & 0xff);
}

uint32_t dnsbl_set_on(const struct dnsbl_set *s, bool v6)
{
    uint32_t on = 0;

    for (size_t i = 0; i < s->count; i++)
        if (state_of(&s->live[i][v6]) == DNSBL_ON &&
            atomic_load(&s->live[i][v6].complaint) == 0)
            on |= 1u << i;
    return on;
}

void dnsbl_set_complain(struct dnsbl_set *s, size_t list, bool v6, uint32_t answer)
{
    ASSERT(list < s->count);
    /* 0.0.0.0, of resolvers that hide names, is as foreign as 0.0.0.1 */
    atomic_store(&s->live[list][v6].complaint, answer != 0 ? answer : 1);
}

void dnsbl_set_view(const struct dnsbl_set *s, size_t list, bool v6, struct dnsbl_view *out)
{
    unsigned state;

    ASSERT(list < s->count);
    state = atomic_load(&s->live[list][v6].state);
    *out = (struct dnsbl_view){.zone = s->lists[list].zone,
                               .v6 = v6,
                               .state = (enum dnsbl_state)(state & 0xff),
                               .reason = (enum dnsbl_reason)(state >> 8)};
    out->is_alarm = out->state == DNSBL_OFF && !(v6 && out->reason == DNSBL_LISTS_NOBODY);
}

void dnsbl_set_inherit(struct dnsbl_set *s, const struct dnsbl_set *before)
{
    for (size_t i = 0; i < 2 * s->count; i++)
        for (size_t k = 0; k < before->count; k++)
            if (dnsbl_is_same(&s->lists[i / 2], &before->lists[k]))
                atomic_store(&s->live[i / 2][i % 2].state,
                             atomic_load(&before->live[k][i % 2].state));
}

void dnsbl_set_publish(struct dnsbl_set *s, size_t list, bool v6, const struct dnsbl_watch *w)
{
    atomic_store(&s->live[list][v6].state, (unsigned)w->state | (unsigned)w->reason << 8);
}

uint32_t dnsbl_set_complaint(const struct dnsbl_set *s, size_t list, bool v6)
{
    return atomic_load(&s->live[list][v6].complaint);
}

void dnsbl_set_heard(struct dnsbl_set *s, size_t list, bool v6)
{
    atomic_store(&s->live[list][v6].complaint, 0);
}
