/* Private to control_snapshot.c and control_restore.c: the form of an image and the file it is
 * in. */
#pragma once

#include "spool/control_internal.h"

#define IMAGE_MAGIC "tspstate"

#define IMAGE_HEAD_BYTES   36 /* magic 8, version u32, cluster 16, applied u64 */
#define IMAGE_RECORD_BYTES 7  /* table u8, key length u16, payload length u32 */
#define IMAGE_END_TABLE    0xff
#define IMAGE_END_BYTES    17 /* IMAGE_END_TABLE, number of records u64, checksum u64 */

#define IMAGE_BUFFER_BYTES (256 * KiB) /* holds the largest record */

/* A file without a name in the folder of the store, written from the front or read from
 * anywhere. */
struct image_file {
    int fd; /* -1: none */
    uint64_t bytes;
    char *buffer; /* IMAGE_BUFFER_BYTES */
    size_t used;  /* of them, not in the file yet */
};

/* E_FULL, E_IO: close it all the same. */
MUST_CHECK enum err image_file_open(struct image_file *f, const struct control *c);
void image_file_close(struct image_file *f);
MUST_CHECK enum err image_file_add(struct image_file *f, struct str s);
MUST_CHECK enum err image_file_flush(struct image_file *f);
/* *got < size: the end. */
MUST_CHECK enum err image_file_read(const struct image_file *f, uint64_t offset, void *buf,
                                    size_t size, size_t *got);
