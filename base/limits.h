/* Every number an outsider can push against has its name here; docs/limits.md is made from
 * this file. Units stand last in the name. */
#pragma once

#include <assert.h>

#define KiB 1024ULL
#define MiB (1024 * KiB)
#define GiB (1024 * MiB)

/* --- SMTP in (RFC 5321 4.5.3) --- */
#define LIMIT_SMTP_LINE_BYTES          2048 /* command line with CRLF; RFC asks for >= 512 */
#define LIMIT_SMTP_PATH_BYTES          254  /* address in MAIL or RCPT; RFC 5321 4.5.3.1.3 */
#define LIMIT_SMTP_LOCAL_PART_BYTES    64   /* RFC 5321 4.5.3.1.1 */
#define LIMIT_SMTP_DOMAIN_BYTES        253  /* a DNS name in text form without final dot */
#define LIMIT_SMTP_HELO_BYTES          255
#define LIMIT_SMTP_RCPTS               100      /* per message; RFC asks for >= 100 */
#define LIMIT_SMTP_ERRORS              20       /* bad commands in a session */
#define LIMIT_SMTP_IDLE_COMMANDS       100      /* NOOP, RSET, VRFY between two messages */
#define LIMIT_SMTP_MESSAGES            1000     /* per session */
#define LIMIT_SMTP_REFUSED_RCPTS       100      /* RCPT answered 5xx in a session: harvesting */
#define LIMIT_SMTP_REPLY_BYTES         1024     /* one reply of ours, all lines */
#define LIMIT_BODY_BYTES               52428800 /* largest message: 50 MB (2^20); SIZE */
#define LIMIT_BODY_LINE_BYTES          65536 /* a line of DATA with CRLF; kept whole up to here */
#define LIMIT_HEADER_BYTES             262144 /* header section of a message */
#define LIMIT_RECEIVED_HOPS            50     /* Received fields: more is a loop */
#define LIMIT_OWN_TRACES               3      /* Received fields of ours: more is a loop */
#define LIMIT_CLUSTER_NAME_BYTES       63     /* as it stands in our Received fields */
#define LIMIT_BODY_SWALLOW_BYTES       LIMIT_BODY_BYTES /* read on after a violation */
#define LIMIT_SMTP_SESSIONS            1000             /* default of smtp.max_sessions */
#define LIMIT_SMTP_SESSIONS_PER_CLIENT 50    /* default of smtp.max_sessions_per_client */
#define LIMIT_INPUT_BYTES              32768 /* read buffer of one connection */
#define LIMIT_SESSION_BLOCK_BYTES                                                              \
    (256 * KiB)                            /* body kept in memory; more is staged on disk      \
                                            */
#define LIMIT_NODE_BLOCK_BYTES (512 * MiB) /* all blocks of a node; then reading stops */

/* --- SMTP in: the door --- */
#define LIMIT_SMTP_SESSIONS_PER_NETWORK 200  /* default of smtp.max_sessions_per_network */
#define LIMIT_SMTP_RATE_PER_CLIENT      1200 /* default of smtp.max_rate_per_client, a minute */
#define LIMIT_SMTP_RATE_PER_NETWORK     6000 /* default of smtp.max_rate_per_network, a minute */
#define LIMIT_CROWD_CELLS               16384 /* in a row of the table of clients, of networks */
#define LIMIT_GREET_DELAY_MS            10000 /* longest smtp.greet_delay */

/* --- SMTP in: total time per phase (RFC 5321 4.5.3.2), milliseconds --- */
#define LIMIT_SMTP_COMMAND_MS    300000 /* from one finished command to the next */
#define LIMIT_SMTP_ENVELOPE_MS   900000 /* from the banner, or the last message, to DATA */
#define LIMIT_SMTP_DATA_MS       600000 /* DATA to the dot, plus the time of the minimum rate */
#define LIMIT_SMTP_DATA_MIN_RATE 1024   /* bytes a second that extend LIMIT_SMTP_DATA_MS */
#define LIMIT_SMTP_TLS_MS        60000  /* handshake */
#define LIMIT_COMMIT_MS          180000 /* the dot to the durable answer */

/* --- Delivery --- */
#define LIMIT_REPLY_BYTES             65536 /* one reply of a primary, all lines */
#define LIMIT_REPLY_LINES             100
#define LIMIT_REPLY_LINE_BYTES        2048 /* RFC 5321 4.5.3.1.5 says 512; real ones are longer */
#define LIMIT_REPLY_KEPT_BYTES        1024 /* what is stored and shown of a reply */
#define LIMIT_CONNECT_MS              30000
#define LIMIT_BANNER_MS               300000
#define LIMIT_REMOTE_COMMAND_MS       300000
#define LIMIT_REMOTE_DATA_MS          120000 /* DATA to 354 */
#define LIMIT_REMOTE_BODY_MS          600000 /* body sent, plus the time of the minimum rate */
#define LIMIT_REMOTE_DOT_MS           600000 /* dot to its reply */
#define LIMIT_CONNS_PER_DEST          20   /* to one destination address, default of the plan */
#define LIMIT_CONNS_OUT               500  /* of a node */
#define LIMIT_JOBS_AHEAD              4    /* messages handed to one connection in advance */
#define LIMIT_MESSAGES_PER_CONN       1000 /* then QUIT and connect anew */
#define LIMIT_PROBES_PER_S            200  /* of a node, over all destinations */
#define LIMIT_ROUTE_HOSTS             20   /* MX hosts or static hosts of a domain */
#define LIMIT_ROUTE_ADDRS             100  /* addresses of a route */
#define LIMIT_ROUTE_HOST_ADDRS        20   /* addresses of one host of a route */
#define LIMIT_ROUTES_PENDING          40 /* routes looked up at the same time; 1 to 41 queries each */
#define LIMIT_ROUTES_FOREIGN          20 /* of these, for domains that are not ours (DSN) */
#define LIMIT_QUEUE_MESSAGES          4000000 /* known to the scheduler of a node */
#define LIMIT_QUEUE_DOMAINS           1000000 /* known to the scheduler of a node */
#define LIMIT_PROBE_ADDRS             8       /* addresses tried for one operator's probe */
#define LIMIT_DNS_MS                  8000    /* one look-up, all its retries */
#define LIMIT_JUDGE_MS                20000 /* all look-ups for an answer to RCPT (RFC 7208 4.6.4) */
#define LIMIT_SENDER_WAIT_MS          2000 /* at the end of a body, for SPF that nothing else needs */
#define LIMIT_SENDER_SILENT_MS        10000 /* after that was in vain nobody waits */
#define LIMIT_JUDGINGS                3 /* domains of one transaction that are looked up for */
#define LIMIT_DNS_PROBE_MS            300000    /* between two questions whether it validates */
#define LIMIT_DNS_PROBE_SOON_MS       10000     /* the same, while it does not answer */
#define LIMIT_DNS_QUERIES             4096      /* under way in a thread */
#define LIMIT_DNS_CACHE_ENTRIES       4096      /* answers kept by an SMTP thread */
#define LIMIT_DNS_CACHE_BYTES         (4 * MiB) /* of their messages */
#define LIMIT_DNS_CACHE_MESSAGE_BYTES 4096      /* a longer one is not kept */
#define LIMIT_DNS_CACHE_MS            60000     /* an answer is kept no longer */
#define LIMIT_DNS_RECORDS             64        /* records of one answer that are looked at */
#define LIMIT_DNS_TEXT_BYTES          16384     /* of all TXT records of one answer */
#define LIMIT_DSN_BYTES               393216    /* a DSN: report and headers */
#define LIMIT_DSN_HEADER_BYTES        8192 /* of the failed message's headers, in its DSN */
#define LIMIT_DSN_DIAG_BYTES          256  /* of a primary's reply, in a DSN */
#define LIMIT_REMOTE_WINDOW           32 /* RCPT commands sent before their replies are read */
#define LIMIT_REMOTE_RCPT_MS          3000 /* that each recipient adds to LIMIT_REMOTE_COMMAND_MS */
#define LIMIT_REMOTE_BODY_RATE        8192 /* bytes a second that extend LIMIT_REMOTE_BODY_MS */
#define LIMIT_REMOTE_TLS_MS           60000 /* handshake */
#define LIMIT_REMOTE_IDLE_MS          30000 /* a connection without a message; then QUIT */
#define LIMIT_REMOTE_QUIT_MS          5000  /* QUIT to its reply; then closed */
#define LIMIT_REMOTE_TEXTS_BYTES      16384 /* reply texts kept of one message, all recipients */
#define LIMIT_RETRY_FIRST_MS          300000 /* a deferred recipient, or a DSN, waits so long ... */
#define LIMIT_RETRY_MAX_MS            3600000 /* ... doubling up to this */
#define LIMIT_ODD_5XX_MS              14400000 /* of nothing but odd 5xx: then the recipient bounces */
#define LIMIT_ODD_GAP_MS              7200000   /* between two odd 5xx: longer breaks the run */
#define LIMIT_DSN_HOLD_MS             432000000 /* 5 days: then a DSN is given up */
#define LIMIT_DSN_RATE_MS             3600000   /* in this time ... */
#define LIMIT_DSN_PER_SENDER          10        /* ... DSNs to one sender; no more are sent */
#define LIMIT_DSN_PER_DOMAIN          1000      /* ... DSNs about mail of one domain */
#define LIMIT_DSN_RATE_PLACES         65536     /* counters for each of the two */
#define LIMIT_DIGEST_BYTES            200704    /* mail to an owner about what ended untold */
#define LIMIT_DIGEST_ROWS_BYTES       196608 /* of them, what lists it; the rest is counted */
#define LIMIT_DIGESTS_AT_ONCE         8      /* domains whose mail is collected in one walk */

/* --- Policy: SPF (RFC 7208 4.6.4) --- */
#define LIMIT_SPF_TERMS             10   /* mechanisms and redirects that look something up */
#define LIMIT_SPF_VOID_TERMS        2    /* of them, those for which nothing was there */
#define LIMIT_SPF_NAMES             10   /* of an mx (more: permerror), of a ptr */
#define LIMIT_SPF_RECORD_BYTES      4096 /* one SPF record */
#define LIMIT_SPF_WIDE_BITS         8    /* a pass by a prefix shorter is no identity */
#define LIMIT_SPF_EXPANSION_BYTES   4096 /* a term after macro expansion */
#define LIMIT_SPF_EXPLANATION_BYTES 400  /* a longer one is not used; fits into a reply line */
#define LIMIT_SPF_MEMORY_BYTES      (64 * KiB) /* records and names of one check */

/* --- Spool --- */
#define LIMIT_CHUNK_BYTES        4080       /* one LMDB value of a body: one page */
#define LIMIT_BATCH_BYTES        (16 * MiB) /* of one group commit */
#define LIMIT_ENVELOPE_BYTES     163840     /* one encoded envelope record */
#define LIMIT_WATCHED_THREADS    70   /* that the watchdog knows: 64 of SMTP, and the others */
#define LIMIT_WRITER_BOX         4096 /* requests waiting for the writer */
#define LIMIT_TRACE_DAYS         30   /* settled mail stays visible to queue trace */
#define LIMIT_TRACE_PERCENT      25   /* of the capacity; beyond it the oldest traces go */
#define LIMIT_SPOOL_FULL_PERCENT 90   /* used of the capacity: puts are refused above */
#define LIMIT_SPOOL_ROOM_PERCENT 85   /* and taken again below */
#define LIMIT_SPOOL_PEER_PERCENT 95   /* copies of peers are refused above; marks never */
#define LIMIT_STAGED_BODIES      1024 /* of peers, whose copy has not come yet; the oldest goes */
#define LIMIT_STAGED_MS          600000 /* of a peer, without a piece: then it is dropped */
#define LIMIT_SPOOL_READERS      64     /* reader handles of a process */
#define LIMIT_SPOOL_READER_MS    1000   /* age of a snapshot that is alarmed */
#define LIMIT_TRACE_HEADER_BYTES 8192   /* the trace fields prepended to a message */
#define LIMIT_CLIENT_ADDR_BYTES  64     /* text form of an address */
#define LIMIT_TLS_TEXT_BYTES     128    /* version and cipher suite */

/* --- Edge policy --- */
#define LIMIT_PREFIXES           1048576 /* networks in one set, both families together */
#define LIMIT_GREY_ENTRIES       1000000 /* first tries and known clients, all sites */
#define LIMIT_GREY_FIRST_TRIES   750000  /* of them, not yet passed: no more are noted */
#define LIMIT_GREY_DELAY_MS      60000   /* a retry that comes earlier is refused as well */
#define LIMIT_GREY_NETWORK_TRIES 1000    /* of a network in a LIMIT_GREY_CROWD_MS, by sender */
#define LIMIT_GREY_CROWD_MS      3600000 /* then its tries count as one for each domain */
#define LIMIT_FAMILIAR           4096    /* clients that an SMTP thread remembers as known */
#define LIMIT_FAMILIAR_MS        60000   /* for so long */
#define LIMIT_GREY_WINDOW_MS     172800000  /* a first try without a retry is forgotten */
#define LIMIT_GREY_KNOWN_MS      3110400000 /* a client without mail is forgotten */
#define LIMIT_GREY_TOUCH_MS      3600000    /* a known client is noted anew at most so often */
#define LIMIT_HOME_LOOK_MS       2000       /* whether a stranger is a host of the house */
#define LIMIT_GREY_CROWD         4096       /* networks counted apart, by hash */
#define LIMIT_EDGE_BOX           8192       /* what may wait for the edge thread */
#define LIMIT_EDGE_GREY_LOOK     4096       /* entries it looks over in a second */
#define LIMIT_EDGE_RCPT_LOOK     256        /* the same, of recipients, who live for days */
#define LIMIT_EDGE_DOMAINS       64         /* and domains: what is to be asked of primaries */
#define LIMIT_EDGE_BATCH_BYTES   1048576    /* of changes, written at once */
#define LIMIT_DNSBL_ANSWERS      16         /* ranges of answers that one list knows */
#define LIMIT_DNSBL_KEY_BYTES    63         /* one label */
#define LIMIT_DNSBL_TEST_MS      300000     /* between two tests of a list */
#define LIMIT_DNSBL_SILENT       2          /* tests without an answer: the list is off */
#define LIMIT_DNSBL_LISTS        8          /* lists of a node */
#define LIMIT_DNSBL_WEIGHT       1000       /* of one answer, either sign; also the threshold */
#define LIMIT_DNSBL_LOOK_MS      1000   /* between two looks at what sessions say of lists */
#define LIMIT_RDNS_NAMES         10     /* PTR names of a client that are looked up */
#define LIMIT_HEADER_LINE_BYTES  998    /* without CRLF; RFC 5322 2.1.1 */
#define LIMIT_AUTH_CLAIM_BYTES   2048   /* of Authentication-Results: its id stands there */
#define LIMIT_RCPTSET_ENTRIES    500000 /* recipients of which something is known, all domains */
#define LIMIT_RCPTSET_PER_DOMAIN 50000
#define LIMIT_RCPTSET_DOUBTS     5000 /* of them, refused or only wished for; of all a quarter */
#define LIMIT_RCPTSET_VALID_MS                                                                 \
    7776000000 /* 90 days: then a recipient that was there is unknown */
#define LIMIT_RCPTSET_INVALID_MS 86400000 /* the same for one that was refused */
#define LIMIT_RCPTSET_WISH_MS    3600000  /* a wish to know that nobody answered is forgotten */
#define LIMIT_RCPTSET_RENEW_MS   5184000000 /* 60 days: then it is to be asked for again */
#define LIMIT_RCPTSET_REASK_MS   86400000   /* between two questions about one recipient */
#define LIMIT_RCPTSET_TOUCH_MS   86400000   /* the same news again is noted at most so often */
#define LIMIT_HARVEST_ENTRIES    200000 /* counts of recipients that are not there, all sites */
#define LIMIT_HARVEST_WINDOW_MS  3600000 /* tries of this one and the one before count */
#define LIMIT_HARVEST_SUSPECT    10      /* of a client in them: it is suspicious */
#define LIMIT_HARVEST_OFFENDER   50      /* it is not heard any more */
#define LIMIT_HARVEST_NETWORK    5       /* a network has so many times the tries of a client */
#define LIMIT_HARVEST_DOMAIN     1000    /* in a domain: nobody is asked for strangers there */
#define LIMIT_HARVEST_NAME_MS    43200000 /* a name tried again in less counts once */
#define LIMIT_HARVEST_NAMES      1000000  /* in one of these */
#define LIMIT_HARVEST_NAME_BITS  8388608  /* of a filter of names: a MiB */
#define LIMIT_HARVEST_LOOK       16       /* entries that one looks at to find room */
#define LIMIT_OFFENDERS          4096     /* of them, known before the banner */
#define LIMIT_AWAY_MS            60000    /* a word that a primary is away counts so long ... */
#define LIMIT_AWAY_AGAIN_MS      15000    /* ... and is repeated so often */

/* --- Edge policy: questions to the primary --- */
#define LIMIT_CALLOUT_PER_MINUTE   10    /* questions an address of a primary sees, all sites */
#define LIMIT_CALLOUT_MINUTE_MS    61000 /* a minute, and what clocks of machines differ in it */
#define LIMIT_CALLOUT_NAMES        4     /* recipients asked for in one session */
#define LIMIT_CALLOUT_WISHES       16    /* of a domain, waiting to be asked for */
#define LIMIT_CALLOUT_DOMAINS      512   /* with such wishes, at a time */
#define LIMIT_CALLOUT_ADDRS        2048  /* of primaries whose questions are counted */
#define LIMIT_CALLOUT_CONNS        16    /* sessions that ask, at a time */
#define LIMIT_CALLOUT_NOTES        2048  /* domains whose primary is known to take all */
#define LIMIT_CALLOUT_CONNECT_MS   5000
#define LIMIT_CALLOUT_GREET_MS     30000  /* banner to the reply to EHLO */
#define LIMIT_CALLOUT_SESSION_MS   60000  /* a session, all in all; then it is cut */
#define LIMIT_CALLOUT_WISH_MS      65000  /* a wish that had no turn goes back */
#define LIMIT_CALLOUT_PATIENCE_MS  180000 /* the same, when nobody waits for it */
#define LIMIT_CALLOUT_REST_MS      60000 /* a primary that failed is left alone; doubling ... */
#define LIMIT_CALLOUT_REST_MAX_MS  3600000  /* ... to this */
#define LIMIT_CALLOUT_TAKES_ALL_MS 86400000 /* one that takes whoever is named is not asked */

#define LIMIT_CALLOUT_OUT        1024 /* wishes of the edge thread that are not answered yet */
#define LIMIT_CALLOUT_WAITS      256  /* RCPTs that wait for what a primary says */
#define LIMIT_CALLOUT_WAITS_EACH 3    /* of one domain */
#define LIMIT_CALLOUT_WAIT_MS    5000 /* that RCPT waits for it at most */
#define LIMIT_CALLOUT_LATER_MS                                                                 \
    60000                        /* nothing came: no RCPT of the domain waits, no wish goes */
#define LIMIT_CALLOUT_RESTS 8192 /* domains of which such a thing is noted */

/* --- Edge policy: a policy server --- */
#define LIMIT_DELEGATE_REQUEST_BYTES 2560   /* one question */
#define LIMIT_DELEGATE_ANSWER_BYTES  4096   /* one answer */
#define LIMIT_DELEGATE_CONNS         32     /* connections to it, of an SMTP thread */
#define LIMIT_DELEGATE_WAITING       1024   /* questions that wait for one of them */
#define LIMIT_DELEGATE_IDLE_MS       60000  /* a connection without a question is closed */
#define LIMIT_DELEGATE_REST_MS       5000   /* after a failure it is not asked */
#define LIMIT_DELEGATE_TIMEOUTS      4      /* in a row: that is a failure */
#define LIMIT_DELEGATE_MAX_MS        100000 /* longest smtp.policy_timeout */

/* --- Control --- */
#define LIMIT_COMMAND_BYTES       65536 /* one entry of the control log */
#define LIMIT_CONTROL_BOX         1024
#define LIMIT_ADMIN_SESSIONS      32
#define LIMIT_ADMIN_REQUEST_BYTES 65536
#define LIMIT_ADMIN_OUT_BYTES     262144     /* waiting for a reader; then a listing pauses */
#define LIMIT_ADMIN_REQUEST_MS    30000      /* a session without a whole request */
#define LIMIT_ADMIN_STALL_MS      600000     /* a reader that takes nothing (a pager) */
#define LIMIT_ADMIN_SESSION_MS    3600000    /* a session, all in all */
#define LIMIT_ADMIN_ANSWER_MS     20000      /* for an answer of another thread */
#define LIMIT_ADMIN_PROBE_MS      120000     /* for the answer to an operator's probe */
#define LIMIT_ADMIN_BATCH         256        /* records looked at in one turn of the loop */
#define LIMIT_ADMIN_SUMMARY_BYTES (32 * MiB) /* names of domains in one queue summary */
#define LIMIT_POLICY_HEADER_BYTES 45000      /* of a message in policy test */
#define LIMIT_ADMIN_SAMPLE        10         /* messages shown before an order is given */
#define LIMIT_CONFIG_BYTES        (1 * MiB)  /* trispool.yaml and conf.d together */
#define LIMIT_CONFIG_FILES        64         /* trispool.yaml and conf.d together */
#define LIMIT_CONFIG_NODES        65536      /* keys, values, lists and items of a file */
#define LIMIT_CONFIG_DEPTH        16         /* maps and lists within each other */
#define LIMIT_CONFIG_ITEMS        256        /* of one list */
#define LIMIT_CONFIG_ERRORS       100        /* mistakes shown; more are counted */
#define LIMIT_CONFIG_MEMORY_BYTES (32 * MiB) /* of one loaded configuration */
#define LIMIT_HOLD_MIN_S          86400      /* 1 day */
#define LIMIT_HOLD_MAX_S          5184000    /* 60 days */
#define LIMIT_HOLD_DEFAULT_S      1209600    /* 14 days */
#define LIMIT_CLOCK_TICK_MS       5000       /* of the cluster clock */
#define LIMIT_COMMAND_SCRATCH     (1 * MiB)  /* memory for decoding one command; bytes */
#define LIMIT_CONTROL_BATCH       256        /* commands in one append, or in one apply */
#define LIMIT_PROPOSALS           1024       /* in flight: appended and not yet answered */
#define LIMIT_CONTROL_LOG_KEPT    4096       /* applied entries kept for peers that lag */
#define LIMIT_CONTROL_LOG_MOST    8192       /* applied entries, then the log is shortened */
#define LIMIT_CONTROL_REQUESTS    2048       /* of this node, waiting or in flight */
#define LIMIT_CONTROL_FOREIGN     1024       /* of other members, not yet in the log */
#define LIMIT_SITES               64         /* sites with a session record */
#define LIMIT_DOMAINS             100000
#define LIMIT_PLANS               1000
#define LIMIT_PLAN_NAME_BYTES     64
#define LIMIT_SETTINGS            1000
#define LIMIT_SETTING_NAME_BYTES  64
#define LIMIT_SETTING_VALUE_BYTES 4096
#define LIMIT_ACCESS_ENTRIES      1000000 /* of block and allow lists together */
#define LIMIT_ACCESS_BATCH        1000    /* entries in one command */
#define LIMIT_ACCESS_REASON_BYTES 200
#define LIMIT_ACCESS_FOR_S        315360000 /* ten years */
#define LIMIT_ROSTER_ENTRIES      1000000   /* listed recipients of all domains together */
#define LIMIT_ROSTER_PER_DOMAIN   100000
#define LIMIT_ROSTER_BATCH        900  /* recipients in one command */
#define LIMIT_OPERATIONS          1024 /* operators' commands that are not done yet */
#define LIMIT_OPERATION_IDS       1000 /* message ids in one of them */
#define LIMIT_DOMAIN_CONNS        1000 /* max_connections of a domain or a plan */
#define LIMIT_SESSION_MIN_MS      1000 /* duration of a node's session */
#define LIMIT_SESSION_MAX_MS      60000

/* --- Between the nodes --- */
#define LIMIT_FRAME_BYTES    (512 * KiB) /* one message between two nodes, either plane */
#define LIMIT_FRAME_RECORDS  1024        /* records of the data plane in one frame */
#define LIMIT_FRAME_RANGES   4096        /* ranges in one HAVE record */
#define LIMIT_FRAME_REFUSALS 1024        /* refusals kept for one ACK */
#define LIMIT_FRAME_REACH    256         /* addresses of primaries in one NOTE */
#define LIMIT_REACH_ADDRS    65536       /* addresses of primaries that are watched */
#define LIMIT_PLACINGS       256         /* domains on their way to another site */
#define LIMIT_BODY_PIECE_BYTES                                                                 \
    (64 * KiB) /* of a body in one record; larger bodies go in pieces */
#define LIMIT_STREAM_WINDOW_BYTES                                                              \
    (8 * MiB)                                /* sent to a peer and not acknowledged, a stream  \
                                              */
#define LIMIT_STREAM_LEAST_BYTES (256 * KiB) /* the window while the way is slow */
#define LIMIT_STREAM_FIRST_BYTES (2 * MiB)   /* the window of a new link */
#define LIMIT_STREAM_DELAY_MS                                                                  \
    200 /* that an ack may be later than the way takes; then less flies */
#define LIMIT_STREAM_WAY_MS                                                                    \
    200 /* the way is taken to be no longer: acks behind it and the delay are late */
#define LIMIT_STREAM_QUEUE_BYTES                                                               \
    (64 * MiB) /* waiting for the window; then the link starts anew */
#define LIMIT_FEED_WINDOW_BYTES  (1 * MiB) /* of copies that a peer lacks, besides live mail */
#define LIMIT_LINK_QUEUE         256       /* messages ZeroMQ holds for a peer */
#define LIMIT_PLANE_TURN         256       /* frames handed on before the loop sees the rest */
#define LIMIT_LINK_CUT_MS        60000 /* a peer that sends what no node would is not heard */
#define LIMIT_BAD_FRAMES         20    /* in a minute from one peer: then it is cut off */
#define LIMIT_HELLO_MS           500   /* between two HELLOs while a link is down */
#define LIMIT_RESEND_MS          1000  /* no ack: what flies is sent again; doubling ... */
#define LIMIT_RESEND_MAX_MS      4000  /* ... to this */
#define LIMIT_RESEND_TRIES       5     /* in vain: the link starts anew */
#define LIMIT_ECHO_MS            250   /* without a durable ack: one is asked for */
#define LIMIT_GATE_DEAD_MS       1000  /* without a durable ack: no mail is taken (INV-6) */
#define LIMIT_GATE_SLOW_MS       500   /* an ack that took longer is slow */
#define LIMIT_GATE_SPAN_MS       5000  /* over which slow acks are counted */
#define LIMIT_GATE_GOOD          3     /* good acks that reopen */
#define LIMIT_GATE_CLOSED_MS     5000  /* closed at least so long, doubling ... */
#define LIMIT_GATE_CLOSED_MAX_MS 60000 /* ... to this */
#define LIMIT_ACK_PROGRESS_MS                                                                  \
    5000 /* after the dot without progress: the message is aborted                             \
          */
#define LIMIT_ACCEPT_MS        180000 /* the dot to the decision, at most */
#define LIMIT_ABORT_MS         5000   /* for a peer's durable ABORT; then no reply is given */
#define LIMIT_DOT_MS           5000   /* for an answer to DOT; then it is asked anew */
#define LIMIT_DOT_LAG_MS       200 /* the peer has not applied the epoch: asked again after */
#define LIMIT_FOREIGN_DOT_MS   660000  /* 11 minutes: another holder's dot without an outcome */
#define LIMIT_RELAY_MS         3000    /* a copy that a peer lacks so long is fed to it */
#define LIMIT_HAVE_MS          1000    /* between two deltas of what is held */
#define LIMIT_REPLICA_BOX      16384   /* requests waiting for the replica thread */
#define LIMIT_REPLICA_OPS      65536   /* records on their way through the store of a node */
#define LIMIT_REPLICA_SESSIONS 65536   /* of all sites, with mail in them */
#define LIMIT_REPLICA_ACCEPTS  16384   /* messages of clients that are not decided yet */
#define LIMIT_REPLICA_DOTS     16384   /* questions before a dot that are not answered yet */
#define LIMIT_REPLICA_FOREIGN  65536   /* open dots of others that are waited for */
#define LIMIT_REPLICA_WANTS    4096    /* damaged copies that peers are asked for */
#define LIMIT_REPLICA_RANGES   8000000 /* intervals of ids in one set */
#define LIMIT_REPLICA_CHANGES  65536   /* ids in one delta of what is held */
#define LIMIT_REPLICA_AHEAD_BYTES                                                              \
    (1 * MiB) /* of a summary, or of owed marks, waiting for a peer */
#define LIMIT_REPLICA_FRAME_BYTES (8 * MiB) /* memory for one decoded frame */
#define LIMIT_REPLICA_TURN        256       /* messages read for peers in one turn */
#define LIMIT_RESOLVE_IDS         65536     /* aborted ids in one answer about a session */
#define LIMIT_CLEAR_MS            10000     /* between two looks for sessions that are over */
#define LIMIT_NOTE_MS             1000      /* between two notes to a peer */
#define LIMIT_GOSSIP_SETS         4         /* what the sites know together, of one kind each */
#define LIMIT_GOSSIP_ENTRY_BYTES  512       /* of one change */
#define LIMIT_GOSSIP_FRAME_BYTES  32768     /* of changes in one frame */
#define LIMIT_GOSSIP_FLYING       16        /* frames of a set to a peer, unacknowledged */
#define LIMIT_GOSSIP_RESEND_MS    2000      /* without progress: sent again */
#define LIMIT_GOSSIP_GREET_MS     1000 /* a peer that has not said where it stands: asked */
#define LIMIT_NOTE_OLD_MS         3000 /* a note that is older says nothing */
#define LIMIT_CLUSTER_MEMBERS     3
#define LIMIT_MEMBER_RECORDS      8 /* with replaced incarnations that are not yet forgotten */
#define LIMIT_ADDRESS_BYTES       262 /* "host:port" of a node */

/* --- Tools: trispool-load and trispool-sink --- */
#define LIMIT_TOOL_ID_BYTES          800      /* message id of a ledger; a file name as %XX */
#define LIMIT_TOOL_IDS               16777216 /* ids in one comparison of ledgers */
#define LIMIT_TOOL_FILES             1000000  /* files sent, or compared */
#define LIMIT_TOOL_TARGETS           64       /* of trispool-load */
#define LIMIT_TOOL_SOURCES           256      /* source addresses of trispool-load */
#define LIMIT_TOOL_RCPTS             1000     /* recipients of a generated message */
#define LIMIT_TOOL_LISTENERS         64       /* of trispool-sink */
#define LIMIT_TOOL_CONTROLLERS       16       /* connections to its control socket */
#define LIMIT_TOOL_CONTROL_BYTES     2048     /* one control line */
#define LIMIT_TOOL_COMMAND_BYTES     4096     /* one command line trispool-sink reads */
#define LIMIT_TOOL_HEADER_LINE_BYTES 1024     /* of a header line, what is looked at */
#define LIMIT_TOOL_ENVELOPE_BYTES    (256 * KiB) /* MAIL and RCPT lines of a message */
#define LIMIT_TOOL_OUT_BYTES         (256 * KiB) /* bytes waiting to be written to a peer */
#define LIMIT_TOOL_ANSWER_BYTES      (8 * MiB)   /* one line of the control socket */
#define LIMIT_TOOL_SILENCE_MS        180000      /* of the daemon, while it owes an answer */
#define LIMIT_TOOL_IMPORT_BYTES      (32 * MiB)  /* a file of recipients */

static_assert(LIMIT_SMTP_LINE_BYTES >= 512, "RFC 5321 4.5.3.1.4");
static_assert(LIMIT_SMTP_RCPTS >= 100, "RFC 5321 4.5.3.1.8");
static_assert(LIMIT_RECEIVED_HOPS >= 30, "RFC 5321 6.3 asks for a large number");
