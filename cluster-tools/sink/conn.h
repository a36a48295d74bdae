/*
 * conn: one connection of the sink: socket, TLS, buffers, the session, and the message that is
 * coming in.
 *
 * Threads: one owner. Memory: about 8 KiB, whatever the size of messages; LIMIT_TOOL_OUT_BYTES
 * of replies. A client that does not read its replies is not read from.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cluster-tools/common/idtable.h"
#include "cluster-tools/common/outbuf.h"
#include "cluster-tools/common/wire.h"
#include "cluster-tools/sink/data.h"
#include "cluster-tools/sink/ledger.h"
#include "cluster-tools/sink/lines.h"
#include "cluster-tools/sink/session.h"
#include "cluster-tools/sink/stats.h"
#include "cluster-tools/sink/store.h"
#include "cluster-tools/sink/tag.h"

/* What epoll has reported: the first member of everything it may report. */
enum source { SOURCE_LISTENER, SOURCE_CONN, SOURCE_CONTROL, SOURCE_SIGNAL };

/* What all connections share; they borrow it for their lives. */
struct intake {
    struct session_config config;
    struct fault fault;
    struct stats stats;
    struct idtable *ids; /* counter 0: copies received */
    struct ledger ledger;
    struct store store;
    struct tls_context *tls;
    int epoll_fd;
    bool lenient;
    uint64_t release_us; /* no reply that is held back is due before; UINT64_MAX: none is */
};

enum conn_mode { CONN_LINES, CONN_DATA, CONN_CHUNK, CONN_HANDSHAKE, CONN_STALLED };

struct conn {
    enum source source;
    struct intake *intake;
    struct conn *prev, *next; /* the owner's list */
    struct wire wire;
    uint32_t interest; /* epoll events asked for */
    enum conn_mode mode;
    bool closing;           /* once the replies are out */
    bool over;              /* to be freed */
    bool tls_next;          /* shake hands once the reply is out */
    uint64_t hold_until_us; /* replies wait until then; 0: they do not */
    uint16_t port;
    struct session session;
    struct lines lines;
    struct data data;
    struct tag tag;
    struct store_message file;
    struct outbuf out;
    uint64_t chunk_left;
    bool chunk_last, chunk_unwanted;
    uint64_t lines_counted, data_counted; /* of the bare CRs and LFs */
};

/* takes fd, also on failure. busy: the client is told to go. gives; NULL: no memory. */
struct conn *conn_new(struct intake *intake, int fd, uint16_t port, bool busy, uint64_t now_us);
void conn_free(struct conn **c);

/* Does what can be done without waiting: after an event, and when hold_until_us has come. When
 * c->over is true after it, free it. now_us: CLOCK_MONOTONIC. */
void conn_run(struct conn *c, uint64_t now_us);
