#include "cluster-tools/sink/compare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/limits.h"

void fingerprint_make(struct fingerprint *f, struct str bytes, const char *name)
{
    static_assert(sizeof f->digest == SHA256_DIGEST_LENGTH, "room for a SHA-256");
    SHA256((const unsigned char *)bytes.p, bytes.n, f->digest);
    f->name = name;
}

bool fingerprint_make_relayed(struct fingerprint *f, struct str bytes, struct str relay,
                              const char *name)
{
    bool cut = compare_cut_received(&bytes, relay);

    fingerprint_make(f, bytes, name);
    if (!cut)
        memset(f->digest, 0xff, sizeof f->digest); /* the digest of no file anybody has */
    return cut;
}

static int by_digest(const void *a, const void *b)
{
    const struct fingerprint *x = a, *y = b;

    return memcmp(x->digest, y->digest, sizeof x->digest);
}

static void show(FILE *shown, const char *what, const struct fingerprint *f)
{
    if (shown != NULL)
        fprintf(shown, "%s %s\n", what, f->name);
}

void compare_lists(struct fingerprint *sent, size_t sent_count, struct fingerprint *received,
                   size_t received_count, struct compare_result *r, FILE *shown)
{
    size_t s = 0, g = 0;

    *r = (struct compare_result){.sent = sent_count, .received = received_count};
    if (sent_count > 0)
        qsort(sent, sent_count, sizeof *sent, by_digest);
    if (received_count > 0)
        qsort(received, received_count, sizeof *received, by_digest);
    while (s < sent_count || g < received_count) {
        int order = s == sent_count       ? 1
                    : g == received_count ? -1
                                          : by_digest(&sent[s], &received[g]);

        if (order == 0) {
            s++;
            g++;
        } else if (order < 0) {
            r->lost++;
            show(shown, "LOST", &sent[s++]);
        } else if (s > 0 && by_digest(&sent[s - 1], &received[g]) == 0) {
            r->duplicated++;
            show(shown, "DUPLICATE", &received[g++]);
        } else {
            r->altered++;
            show(shown, "ALTERED", &received[g++]);
        }
    }
}

/* ---- files ---- */

struct listing {
    struct fingerprint *list;
    size_t n;
};

static void listing_free(struct listing *l)
{
    for (size_t i = 0; i < l->n; i++)
        free((void *)(uintptr_t)l->list[i].name);
    free(l->list);
}

/* gives *bytes. */
static enum err read_whole(int dir_fd, const char *name, char **bytes, size_t *n)
{
    struct stat st;
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    enum err e = E_NOTFOUND;

    *n = 0;
    if (fd < 0)
        return E_NOTFOUND;
    if (fstat(fd, &st) == 0 && (*bytes = malloc((size_t)st.st_size + 1)) != NULL) {
        ssize_t got = 1;

        while (*n < (size_t)st.st_size &&
               (got = read(fd, *bytes + *n, (size_t)st.st_size - *n)) > 0)
            *n += (size_t)got;
        e = got > 0 ? OK : E_NOTFOUND;
        if (e != OK)
            free(*bytes);
    }
    close(fd);
    return e;
}

static enum err add_file(struct listing *l, int dir_fd, const char *name,
                         const struct compare_setup *cut)
{
    struct fingerprint *grown = realloc(l->list, (l->n + 1) * sizeof *grown);
    char *bytes, *copy;
    struct str message;
    enum err e;

    if (grown == NULL || l->n >= LIMIT_TOOL_FILES)
        return E_FULL;
    l->list = grown;
    e = read_whole(dir_fd, name, &bytes, &message.n);
    if (e != OK)
        return e;
    message.p = bytes;
    copy = strdup(name);
    if (copy != NULL && cut == NULL) {
        fingerprint_make(&l->list[l->n++], message, copy);
    } else if (copy != NULL) {
        struct str relay = cut->relay == NULL ? STR("") : str_of(cut->relay);

        if (!fingerprint_make_relayed(&l->list[l->n++], message, relay, copy) && cut->verbose)
            fprintf(stderr, "NO RECEIVED FIELD %s\n", name);
    }
    free(bytes);
    return copy != NULL ? OK : E_FULL;
}

static bool is_message(int dir_fd, const char *name)
{
    struct str s = str_of(name);
    struct stat st;

    if (s.n == 0 || name[0] == '.' || (s.n > 4 && strcmp(name + s.n - 4, ".env") == 0))
        return false;
    return fstatat(dir_fd, name, &st, 0) == 0 && S_ISREG(st.st_mode);
}

/* cut: how to cut the Received field; NULL: the files as they are. */
static enum err read_dir(struct listing *l, const char *path, const struct compare_setup *cut)
{
    DIR *d = opendir(path);
    struct dirent *entry;
    enum err e = OK;

    if (d == NULL) {
        fprintf(stderr, "trispool-sink: %s: %s\n", path, strerror(errno));
        return E_NOTFOUND;
    }
    while (e == OK && (entry = readdir(d)) != NULL) {
        if (!is_message(dirfd(d), entry->d_name))
            continue;
        e = add_file(l, dirfd(d), entry->d_name, cut);
        if (e != OK)
            fprintf(stderr, "trispool-sink: %s/%s: %s\n", path, entry->d_name, strerror(errno));
    }
    closedir(d);
    return e;
}

enum err compare_run(const struct compare_setup *setup, FILE *to, bool *equal)
{
    struct listing sent = {0}, received = {0};
    struct compare_result r;
    enum err e = read_dir(&sent, setup->sent_dir, NULL);

    *equal = false;
    if (e == OK)
        e = read_dir(&received, setup->received_dir, setup->direct ? NULL : setup);
    if (e == OK) {
        compare_lists(sent.list, sent.n, received.list, received.n, &r,
                      setup->verbose ? stderr : NULL);
        *equal = r.sent > 0 && r.lost == 0 && r.duplicated == 0 && r.altered == 0;
        fprintf(to,
                "{\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"lost\":%" PRIu64
                ",\"duplicated\":%" PRIu64 ",\"altered\":%" PRIu64 "}\n",
                r.sent, r.received, r.lost, r.duplicated, r.altered);
    }
    listing_free(&sent);
    listing_free(&received);
    return e;
}
