#include "cluster-tools/cli/member.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/log.h"
#include "cluster-tools/cli/show.h"
#include "cluster-tools/cli/text.h"
#include "cluster-tools/common/version.h"
#include "node/config.h"
#include "node/identity.h"

#define EXIT_NEGATIVE 1
#define EXIT_CONFIG   78

struct member_run {
    const struct cli_run *run;
    struct show show;
    struct node_config *config;
    struct cli_error why;
};

static bool __attribute__((format(printf, 5, 6)))
refuse(struct member_run *m, int exit, const char *where, const char *act, const char *what,
       ...)
{
    char text[sizeof m->why.what];
    va_list args;

    va_start(args, what);
    vsnprintf(text, sizeof text, what, args);
    va_end(args);
    cli_error_set(&m->why, exit, where, act, "%s", text);
    return false;
}

static const char *text_arg(const struct cli_run *run, const char *name)
{
    return json_string_value(json_object_get(run->args, name));
}

/* --- the configuration --- */

static bool load(struct member_run *m)
{
    const char *given = text_arg(m->run, "config");
    const char *path = given != NULL ? given : NODE_CONFIG_PATH;
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);
    enum err e = to != NULL ? node_config_load(path, &m->config, to) : E_FULL;

    if (to != NULL && fclose(to) != 0)
        e = E_FULL;
    if (e == OK && m->config->copies != 2)
        refuse(m, EXIT_CONFIG, path, "write copies: 2 and peers, see docs/configuration.md",
               "by its configuration this node is alone (copies: 1)");
    else if (e != OK)
        /* The first line has the place and what is wrong. */
        refuse(m, EXIT_CONFIG, path, "trispool config check FILE tells all mistakes", "%.*s",
               text != NULL ? (int)strcspn(text, "\n") : 0, text != NULL ? text : "");
    free(text);
    return e == OK && m->config->copies == 2;
}

/* Files that root made would be of no use to the daemon. */
static bool become_owner(struct member_run *m)
{
    struct stat st;

    if (geteuid() != 0 || stat(m->config->data_dir, &st) != 0 || st.st_uid == 0)
        return true;
    if (setgroups(0, NULL) == 0 && setgid(st.st_gid) == 0 && setuid(st.st_uid) == 0)
        return true;
    return refuse(m, EXIT_MACHINE, m->config->data_dir, NULL, "cannot become its owner: %s",
                  strerror(errno));
}

/* --- answers --- */

static void put_line(struct member_run *m, json_t *row, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Takes the row: for programs; the line is for people. */
static void put_line(struct member_run *m, json_t *row, const char *fmt, ...)
{
    char text[IDENTITY_WHY_BYTES];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)json_object_set_new(row, "line", json_string(text));
    show_row(&m->show, row);
}

static bool put_why(struct member_run *m, const char *why)
{
    char safe[sizeof m->why.what];

    text_escape(str_of(why), safe, sizeof safe);
    return refuse(m, EXIT_NEGATIVE, m->config->data_dir, NULL, "%s", safe);
}

/* --- commands --- */

/* A wildcard is fine to listen on and no use to others. */
static bool is_wildcard(const char *address)
{
    return strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0;
}

static bool own_address(struct member_run *m, const char *name, const char *preset,
                        const char **out)
{
    const char *given = text_arg(m->run, name);

    *out = given != NULL ? given : preset;
    if (!is_wildcard(*out))
        return true;
    return refuse(m, EXIT_USAGE, *out,
                  "name the address of this node with --control and --data",
                  "the others cannot reach that address");
}

static bool init(struct member_run *m)
{
    uint64_t site = m->config->site;
    json_t *asked = json_object_get(m->run->args, "site");
    const char *control, *data;
    char why[IDENTITY_WHY_BYTES];
    enum err e;

    if (asked != NULL && (uint64_t)json_integer_value(asked) != site)
        return refuse(m, EXIT_USAGE, "--site", NULL,
                      "by its configuration this node is site %llu", (unsigned long long)site);
    if (!own_address(m, "control", m->config->peers.control, &control) ||
        !own_address(m, "data", m->config->peers.data, &data))
        return false;
    e = identity_init(m->config->data_dir, (uint16_t)site, str_of(control), str_of(data), why);
    if (e != OK)
        return put_why(m, why);
    put_line(m, json_pack("{s:I}", "site", (json_int_t)site),
             "site %llu is the first member of a new cluster; start it, then add the others",
             (unsigned long long)site);
    return true;
}

static bool key(struct member_run *m)
{
    char text[BASE64_SIZE(MEMBER_KEY_BYTES)], why[IDENTITY_WHY_BYTES];
    uint8_t bytes[MEMBER_KEY_BYTES];

    if (identity_key(m->config->data_dir, bytes, why) != OK)
        return put_why(m, why);
    base64_encode((struct str){(const char *)bytes, sizeof bytes}, text);
    put_line(m, json_pack("{s:I, s:s}", "site", (json_int_t)m->config->site, "key", text),
             "site %llu has the key %s", (unsigned long long)m->config->site, text);
    return true;
}

static bool join(struct member_run *m)
{
    char why[IDENTITY_WHY_BYTES];

    if (identity_join(m->config->data_dir, (uint16_t)m->config->site, str_of(m->run->operand),
                      why) != OK)
        return put_why(m, why);
    put_line(m, json_pack("{s:I}", "site", (json_int_t)m->config->site),
             "site %llu is a member now; start it", (unsigned long long)m->config->site);
    return true;
}

int member_run(const struct cli_run *run)
{
    const struct {
        const char *verb;
        bool (*command)(struct member_run *m);
    } commands[] = {{"init", init}, {"key", key}, {"join", join}};
    struct member_run m = {.run = run};
    bool ok = false;
    int status;

    log_set_level(LOG_ALARM); /* what is wrong is said once, here */
    show_begin(&m.show, run, stdout, stderr);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].verb, run->command->verb) == 0)
            ok = load(&m) && become_owner(&m) && commands[i].command(&m);
    status = ok ? show_end(&m.show, NULL, 0) : show_error(&m.show, &m.why);
    node_config_free(&m.config);
    return status;
}
