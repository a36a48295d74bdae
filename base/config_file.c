#include "base/config_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config *new_config(void)
{
    struct config *c = calloc(1, sizeof *c);

    ASSERT(c != NULL); /* at start, or for a reload that a starved process cannot do */
    arena_init(&c->memory, LIMIT_CONFIG_MEMORY_BYTES);
    return c;
}

static void parse_all(struct config *c)
{
    for (size_t i = 0; i < c->file_count && !c->unreadable; i++)
        config_parse(c, i);
}

/* At most one byte above the limit, so that a file that grows meanwhile ends too. */
static enum err read_all(int fd, char **bytes, size_t *n)
{
    size_t size = LIMIT_CONFIG_BYTES + 1;
    ssize_t got;

    *n = 0;
    *bytes = malloc(size);
    if (*bytes == NULL) {
        errno = ENOMEM;
        return E_FULL;
    }
    while (*n < size) {
        got = read(fd, *bytes + *n, size - *n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? E_IO : OK;
        *n += (size_t)got;
    }
    return OK;
}

static void read_file(struct config *c, const char *path)
{
    struct config_file *f = config_add_file(c, path);
    struct config_mark whole = {.file = (size_t)(f - c->files)};
    size_t before = c->mistake_count, n = 0;
    struct stat st;
    /* O_NONBLOCK: a FIFO in the place of the file is refused instead of waited for */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &st) != 0)
        config_mistake(c, whole, "cannot be read: %s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        config_mistake(c, whole, "cannot be read: not a regular file");
    else if (read_all(fd, &f->bytes, &n) != OK)
        config_mistake(c, whole, "cannot be read: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    c->unreadable |= c->mistake_count > before;
    if (c->mistake_count == before)
        config_set_text(c, f, (struct str){f->bytes, n});
}

static int is_conf(const struct dirent *d)
{
    struct str name = str_of(d->d_name);

    return name.p[0] != '.' && name.n > 5 && str_eq(str_from(name, name.n - 5), STR(".yaml"));
}

/* conf.d beside the file; without it there is nothing to do. */
static void read_conf_d(struct config *c, const char *path)
{
    struct str whole = str_of(path);
    size_t slash = str_find_last(whole, '/');
    struct str parent = slash < whole.n ? str_head(whole, slash + 1) : STR_NONE;
    char name[4096];
    struct dirent **entries = NULL;
    int n, wrote = snprintf(name, sizeof name, STR_FMT "conf.d", STR_ARG(parent));

    if (wrote < 0 || (size_t)wrote >= sizeof name)
        return;
    n = scandir(name, &entries, is_conf, alphasort);
    if (n < 0 && errno != ENOENT && errno != ENOTDIR) {
        config_mistake(c, (struct config_mark){0}, "conf.d beside it cannot be read: %s",
                       strerror(errno));
        c->unreadable = true;
    }
    for (int i = 0; i < n; i++) {
        char file[4400];

        snprintf(file, sizeof file, "%s/%s", name, entries[i]->d_name);
        if (c->file_count < LIMIT_CONFIG_FILES)
            read_file(c, file);
        else if (i == n - 1)
            config_mistake(c, (struct config_mark){0}, "more than %d files in conf.d",
                           LIMIT_CONFIG_FILES - 1);
        free(entries[i]);
    }
    free(entries);
}

struct config *config_open(const char *path)
{
    struct config *c = new_config();

    read_file(c, path);
    read_conf_d(c, path);
    parse_all(c);
    return c;
}

struct config *config_from_text(const char *name, struct str text)
{
    struct config *c = new_config();

    config_set_text(c, config_add_file(c, name), text);
    parse_all(c);
    return c;
}

void config_close(struct config **c)
{
    if (*c == NULL)
        return;
    for (size_t i = 0; i < (*c)->file_count; i++)
        free((*c)->files[i].bytes);
    arena_reset(&(*c)->memory);
    free(*c);
    *c = NULL;
}
