/*
 * snapshot: a value that one thread publishes and all read: configuration after a reload.
 * Readers hold a reference while they use it; the last one frees it.
 * Threads: all functions from any.
 */
#pragma once

struct snapshot;

/* Takes `value`; free_value is called when nobody holds it any more. */
struct snapshot *snapshot_new(void *value, void (*free_value)(void *));
void snapshot_free(struct snapshot **s);

/* The current value, referenced. Give back with snapshot_release() of the same handle. */
struct snapshot_ref;
struct snapshot_ref *snapshot_hold(struct snapshot *s);
const void *snapshot_value(const struct snapshot_ref *r);
void snapshot_release(struct snapshot_ref **r);

void snapshot_publish(struct snapshot *s, void *value); /* takes value */
