#include "cluster-tools/load/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/limits.h"

const char *file_flaw_text(enum file_flaw flaw)
{
    switch (flaw) {
    case FILE_CLEAN:
        return "clean";
    case FILE_BARE_LF:
        return "has an LF without CR before it";
    case FILE_BARE_CR:
        return "has a CR without LF behind it";
    case FILE_NO_END:
        return "does not end in CRLF";
    }
    ASSERT(false);
    return "";
}

void file_scan_init(struct file_scan *s)
{
    *s = (struct file_scan){.flaw = FILE_CLEAN};
}

void file_scan_add(struct file_scan *s, struct str bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        char c = bytes.p[i];

        if (s->flaw == FILE_CLEAN && s->after_cr && c != '\n')
            s->flaw = FILE_BARE_CR;
        if (s->flaw == FILE_CLEAN && !s->after_cr && c == '\n')
            s->flaw = FILE_BARE_LF;
        if ((unsigned char)c > 127)
            s->eight_bit = true;
        s->line_start = s->after_cr && c == '\n';
        s->after_cr = c == '\r';
    }
}

enum file_flaw file_scan_end(const struct file_scan *s)
{
    if (s->flaw != FILE_CLEAN)
        return s->flaw;
    return s->line_start ? FILE_CLEAN : FILE_NO_END;
}

void file_id(struct str name, char *out, size_t room)
{
    size_t n = 0;

    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        int len;

        ASSERT(room - n > 3);
        if (c > ' ' && c < 127 && c != '%') {
            out[n++] = (char)c;
            continue;
        }
        len = snprintf(out + n, room - n, "%%%02X", c);
        ASSERT(len == 3);
        n += 3;
    }
    ASSERT(n < room);
    out[n] = 0;
}

static enum err scan_file(struct file_entry *e)
{
    char buffer[16384];
    struct file_scan scan;
    ssize_t n;
    int fd = open(e->path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return E_IO;
    file_scan_init(&scan);
    while ((n = read(fd, buffer, sizeof buffer)) > 0) {
        file_scan_add(&scan, (struct str){buffer, (size_t)n});
        e->bytes += (uint64_t)n;
    }
    close(fd);
    e->eight_bit = scan.eight_bit;
    e->flaw = file_scan_end(&scan);
    return n == 0 ? OK : E_IO;
}

static enum err add(struct file_list *f, const char *dir, const char *name)
{
    size_t room = strlen(name) * 3 + 4;
    struct file_entry *grown, *e;
    struct stat st;

    if (f->n >= LIMIT_TOOL_FILES)
        return E_FULL;
    grown = realloc(f->list, (f->n + 1) * sizeof *grown);
    if (grown == NULL)
        return E_FULL;
    f->list = grown;
    e = &f->list[f->n];
    *e = (struct file_entry){.id = malloc(room)};
    if (e->id == NULL || asprintf(&e->path, "%s/%s", dir, name) < 0) {
        free(e->id);
        return E_FULL;
    }
    f->n++;
    file_id(str_of(name), e->id, room);
    if (stat(e->path, &st) < 0)
        return E_IO;
    if (S_ISREG(st.st_mode))
        return scan_file(e);
    f->n--;
    free(e->id);
    free(e->path);
    return OK;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct file_entry *)a)->path, ((const struct file_entry *)b)->path);
}

enum err files_open(struct file_list *f, const char *dir)
{
    struct dirent *entry;
    enum err e = OK;
    DIR *d = opendir(dir);

    *f = (struct file_list){0};
    if (d == NULL)
        return E_NOTFOUND;
    while (e == OK && (entry = readdir(d)) != NULL)
        if (entry->d_name[0] != '.')
            e = add(f, dir, entry->d_name);
    closedir(d);
    if (e == OK && f->n > 0)
        qsort(f->list, f->n, sizeof *f->list, by_path);
    return e;
}

void files_close(struct file_list *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->list[i].path);
        free(f->list[i].id);
    }
    free(f->list);
    *f = (struct file_list){0};
}
