/* config show and reload: of the running daemon. */
#include <stdio.h>
#include <stdlib.h>

#include "node/admin_parts.h"

static void emit_lines(struct admin_call *c, struct str text)
{
    while (text.n > 0) {
        json_t *row = json_object();

        admin_set_text(row, "line", str_split(&text, '\n'));
        admin_emit(c, row);
    }
}

static enum admin_next show_step(struct admin_call *c, void *state)
{
    struct admin *a = c->ctx;
    struct snapshot_ref *ref;
    const struct node_settings *s;
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);

    (void)state;
    if (to == NULL)
        return admin_fail_err(c, E_FULL, "memory");
    ref = snapshot_hold(a->node->settings);
    s = snapshot_value(ref);
    node_config_print(s->config, to);
    snapshot_release(&ref);
    if (fclose(to) == 0)
        emit_lines(c, (struct str){text, n});
    free(text);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

static enum admin_next reload_step(struct admin_call *c, void *state)
{
    struct admin *a = c->ctx;
    struct snapshot_ref *before = snapshot_hold(a->node->settings), *after;
    bool changed;
    json_t *row;

    (void)state;
    a->o.reload(a->o.ctx);
    after = snapshot_hold(a->node->settings);
    changed = snapshot_value(before) != snapshot_value(after);
    snapshot_release(&before);
    snapshot_release(&after);
    if (!changed)
        return admin_fail(c, ADMIN_EXIT_CONFIG,
                          "the configuration was refused; the old one is "
                          "still in force",
                          "trispool.yaml", "trispool config check FILE says what is wrong");
    row = json_object();
    admin_set(row, "reloaded", json_true());
    admin_emit(c, row);
    return admin_done(c, ADMIN_EXIT_OK, NULL);
}

static const struct admin_command rows[] = {
    {"config.show", NULL, 0, false, 0, show_step, NULL},
    {"config.reload", NULL, 0, true, 0, reload_step, NULL},
};

struct admin_table admin_config_table(void)
{
    return ADMIN_TABLE(rows);
}
