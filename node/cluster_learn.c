/* What deliveries teach about recipients, for domains that learn them: told to the edge thread,
 * which tells the other sites. */
#include "node/cluster_private.h"
#include "node/delivery/lesson.h"
#include "node/edge.h"

/* True: it learns, and is still the domain that the mail was for. */
static bool learns(struct cluster *c, const struct envelope *e, char *separator)
{
    struct arena scratch;
    struct domain d;
    bool is_so;

    if (e->domain_generation == 0)
        return false;
    arena_init(&scratch, LIMIT_COMMAND_SCRATCH);
    is_so = control_domain_get(control_thread_state(c->node->control), e->domain, &scratch,
                               &d) == OK &&
            d.generation == e->domain_generation && d.recipients == RECIPIENTS_LEARN;
    if (is_so)
        *separator = d.separator;
    arena_reset(&scratch);
    return is_so;
}

void cluster_learn(struct cluster *c, const struct delivery_job *j)
{
    const struct smtpc_result *r = j->result;
    struct edge_lesson l = {.generation = j->env.domain_generation};

    if (r == NULL || r->dsn || !learns(c, &j->env, &l.separator))
        return;
    for (uint32_t i = 0; i < r->count; i++) {
        struct str path = j->env.rcpts[r->rcpts[i].index].path;
        enum lesson lesson = lesson_of(&r->rcpts[i]);

        if (lesson == LESSON_NOTHING)
            continue;
        l.local = str_head(path, str_find_last(path, '@'));
        l.is_valid = lesson == LESSON_VALID;
        edge_learn(c->node->edge, &l);
    }
}
