/*
 * disk: simulated disks. LMDB's calls (pwrite, writev, fdatasync, ...) on files below a node's
 * folder go to the real file, which lies in memory, and into a journal with what stood there
 * before. At a crash the journal is wound back to an image that a disk may hold: what a
 * completed sync covers stays, of later writes any subset of sectors. A sync costs virtual
 * time, may fail, the disk may be full, a bit may flip.
 *
 * A store is a group of files with one thread that writes them. What it did since
 * disk_begin() is in flight until disk_end(): a crash in between may have happened at any call
 * of it. Once others have looked at what was written (disk_seen()), it stays.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_STORES 16

struct disk_store;

struct disk_counts {
    uint64_t writes, syncs, failed, torn_sectors, lost_sectors, crashes_in_flight;
};

/* All files below `prefix` (a folder) belong to the store; the longest prefix counts. */
struct disk_store *disk_add(const char *prefix);
struct disk_counts *disk_counts(void);

void disk_begin(struct disk_store *d);
/* Virtual time that the calls since disk_begin() cost. */
uint64_t disk_cost_us(struct disk_store *d);
/* How many syncs there were since disk_begin(). */
uint64_t disk_syncs(const struct disk_store *d);
/* It is over: what was synced is durable. */
void disk_end(struct disk_store *d);
void disk_seen(struct disk_store *d);
/* Calls of the journal so far: a place in what is in flight. */
size_t disk_position(const struct disk_store *d);
/* The power is cut, and nothing has the files open. Un-synced writes are lost, kept or torn.
 * Up to which call of what was in flight it had come; SIZE_MAX: to the end. */
size_t disk_crash(struct disk_store *d);
/* The files are gone. */
void disk_forget(struct disk_store *d);

struct disk_faults {
    uint64_t sync_min_us, sync_max_us;
    uint32_t stall_pm; /* so many syncs take stall_us */
    uint64_t stall_us;
    bool eio;  /* writes and syncs fail */
    bool full; /* fstatvfs says so, writes fail with ENOSPC */
};
struct disk_faults *disk_faults(struct disk_store *d);

/* Flips one bit within the first place where these bytes stand in the store's files. False:
 * they do not stand there. */
bool disk_flip(struct disk_store *d, const void *bytes, size_t n);
