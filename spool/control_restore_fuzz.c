/* Any bytes as an image of the control state: a restore that refuses them leaves the state as
 * it was, one that takes them leaves a state that every reader can walk through. The first byte
 * chooses: any bytes; a true image with some bytes changed; records of any form in an image
 * whose head, count and checksum are right. In the last two cases the checksum is put right.
 *
 * Covers: spool/control_restore.c
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/log.h"
#include "spool/control_image.h"
#include "spool/control_snapshot.h"

#define IMAGE_MOST (512 * KiB)
#define SETTINGS   80 /* of 4,000 bytes: more than the restore reads at once */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
ssize_t pread(int fd, void *buf, size_t n, off_t offset);

static char dir[64];
static struct control *control;
static char genuine[IMAGE_MOST], image[IMAGE_MOST + IMAGE_END_BYTES];
static size_t genuine_bytes;
static int reads_left = -1; /* until one fails; negative: none does */
static bool read_ends;      /* the one that fails says that the file ends */

/* What the restore reads its file by, in place of that of libc. */
ssize_t pread(int fd, void *buf, size_t n, off_t offset)
{
    if (reads_left >= 0 && reads_left-- == 0) {
        errno = EIO;
        return read_ends ? 0 : -1;
    }
    return lseek(fd, offset, SEEK_SET) == offset ? read(fd, buf, n) : -1;
}

static void at_end(void)
{
    char file[128];

    control_close(&control);
    for (const char *const *f = (const char *const[]){"data.mdb", "lock.mdb", NULL}; *f; f++) {
        snprintf(file, sizeof file, "%s/%s", dir, *f);
        unlink(file);
    }
    rmdir(dir);
}

static void apply(uint64_t index, struct command c)
{
    struct command_result r;

    ASSERT(control_apply(control, index, &c, &r) == OK && r.err == OK);
}

/* A little of everything, so that a change of a byte meets each kind of record. */
static void fill(void)
{
    static char value[4000];

    memset(value, 'v', sizeof value);
    apply(1, (struct command){.kind = COMMAND_MEMBER_ADD,
                              .member_add = {.site = 1,
                                             .incarnation = 1,
                                             .key = {1},
                                             .control = STR("a.example:7301"),
                                             .data = STR("a.example:7302")}});
    apply(2,
          (struct command){.kind = COMMAND_SESSION_OPEN, .session_open = {1, 1, 10000, 5, 0}});
    apply(3, (struct command){.kind = COMMAND_PLAN_PUT, .plan_put = {STR("gold"), 86400, 3}});
    apply(4, (struct command){
                 .kind = COMMAND_DOMAIN_PUT,
                 .domain_put = {.mode = DOMAIN_ADD,
                                .domain = {.name = STR("a.test"), .route.kind = ROUTE_MX}}});
    for (uint64_t i = 0; i < SETTINGS; i++) {
        char name[16];

        snprintf(name, sizeof name, "s%d", (int)i);
        apply(5 + i, (struct command){.kind = COMMAND_SETTING_PUT,
                                      .setting_put = {str_of(name), {value, sizeof value}}});
    }
}

static void set_up(void)
{
    struct store_id id = {.cluster = {9}, .site = 1, .incarnation = 1};
    struct control_snapshot *s;

    /* In memory where there is such a folder: each image that is taken is synced. */
    snprintf(dir, sizeof dir, "%s/control_restore_fuzz.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ASSERT(mkdtemp(dir) != NULL);
    log_set_level(LOG_ALARM);
    ASSERT(control_open(&control,
                        &(struct control_options){
                            .dir = dir, .map_bytes = 64 * MiB, .id = &id, .create = true}) ==
           OK);
    atexit(at_end);
    fill();
    ASSERT(control_snapshot_open(&s, control) == OK);
    ASSERT(control_snapshot_read(s, 0, genuine, sizeof genuine, &genuine_bytes) == OK);
    ASSERT(genuine_bytes == control_snapshot_bytes(s));
    control_snapshot_close(&s);
}

static void right_sum(char *p, size_t n)
{
    if (n >= 8)
        ctlkv_store_u64(p + n - 8, XXH3_64bits(p, n - 8));
}

/* At least the index of all that was restored before: an older state is not taken. */
static void raise_index(char *head)
{
    ctlkv_store_u64(head + 28, control_applied(control));
}

/* Whole, in two pieces. */
static enum err restore(struct str bytes)
{
    struct control_restore *r;
    enum err e = control_restore_begin(&r, control);

    ASSERT(e == OK);
    e = control_restore_write(r, str_head(bytes, bytes.n / 2));
    if (e == OK)
        e = control_restore_write(r, str_from(bytes, bytes.n / 2));
    ASSERT(e == OK && control_restore_bytes(r) == bytes.n);
    e = control_restore_commit(&r);
    reads_left = -1;
    ASSERT(r == NULL);
    return e;
}

static void read_all(void)
{
    static struct control_cluster cluster;
    struct slot slots[CONTROL_SLOTS];
    struct domain d = {.name = STR_NONE};
    struct arena a;
    uint64_t bad, ms;
    enum err e;

    ASSERT(control_verify(control, &bad) == OK);
    arena_init(&a, 16 * MiB);
    do
        e = control_domain_next(control, d.name, &a, &d);
    while (e == OK);
    e = control_cluster(control, &cluster);
    if (e == OK)
        e = control_slots(control, slots);
    if (e == OK)
        e = control_cluster_ms(control, &ms);
    ASSERT(e == OK || e == E_CORRUPT);
    arena_reset(&a);
}

static void judge(struct str bytes)
{
    uint64_t before, after;

    ASSERT(control_digest(control, &before) == OK);
    if (restore(bytes) == OK) {
        read_all();
        raise_index(genuine);
        right_sum(genuine, genuine_bytes);
        ASSERT(restore((struct str){genuine, genuine_bytes}) == OK);
        return;
    }
    ASSERT(control_digest(control, &after) == OK);
    ASSERT(before == after);
}

static void finish(size_t n, bool with_sum)
{
    if (with_sum)
        right_sum(image, n);
    judge((struct str){image, n});
}

/* Four bytes a change: what it is near, where, and by what. The rest is the length. */
static void changed(struct str in, bool with_sum)
{
    size_t n = genuine_bytes;

    memcpy(image, genuine, genuine_bytes);
    raise_index(image);
    for (; in.n >= 4; in = str_from(in, 4))
        image[(in.p[2] % 2 == 0 ? ctlkv_load_u16(in.p)
                                : genuine_bytes - 1 - ctlkv_load_u16(in.p) % 4096)] ^= in.p[3];
    if (in.n >= 2)
        n = in.n == 3 ? genuine_bytes - (uint8_t)in.p[0] : ctlkv_load_u16(in.p);
    finish(n, with_sum);
}

static void built(struct str in, bool with_sum)
{
    size_t at = IMAGE_HEAD_BYTES;
    uint64_t count = 0;

    memcpy(image, genuine, IMAGE_HEAD_BYTES);
    raise_index(image);
    while (in.n >= 4 && at < IMAGE_MOST / 2) {
        size_t key = (uint8_t)in.p[1], payload = (uint8_t)in.p[2];

        image[at] = (char)((uint8_t)in.p[0] % (T_COUNT + 1));
        ctlkv_store_u16(image + at + 1, (uint16_t)key);
        ctlkv_store_u32(image + at + 3, (uint32_t)payload << (in.p[3] == 'L' ? 16 : 0));
        at += IMAGE_RECORD_BYTES;
        in = str_from(in, 4);
        for (size_t i = 0; i < key + payload; i++)
            image[at++] = i < in.n ? in.p[i] : 0;
        in = str_from(in, key + payload < in.n ? key + payload : in.n);
        count++;
    }
    image[at] = (char)IMAGE_END_TABLE;
    ctlkv_store_u64(image + at + 1, count + (in.n == 3));
    finish(at + IMAGE_END_BYTES - (in.n == 2), with_sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};

    if (control == NULL)
        set_up();
    if (size == 0 || size > IMAGE_MOST)
        return 0;
    reads_left = (data[0] & 0x30) == 0 ? data[0] >> 6 : -1;
    read_ends = data[0] & 8;
    if (data[0] % 2 == 0)
        changed(str_from(in, 1), !(data[0] & 4));
    else
        built(str_from(in, 1), !(data[0] & 4));
    return 0;
}
