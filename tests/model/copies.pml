/*
 * copies: one message of site A on three nodes: who may say what of it, and who may hand it to
 * the primary. The rules of docs/wire.md; docs/model.md tells what is and what is not modelled.
 * `run` beside this file builds and runs it.
 *
 * Options of the build (-D):
 *   MOVES=n    log entries besides the first assignment: RELEASE, take-over, end of A's session
 *   FAULTS=n   crashes and lost disks together; a lost disk at most once
 *   WIPE, CRASH  allow the one, the other (both when neither is named)
 *   DOTS=n     questions for a final dot, over all nodes and epochs
 *   HOLDER=n   the first holder, 0 to 2; else A or B (B and C are alike)
 *   PROGRESS   faults end at some time; every run must then end with the mail delivered
 *   DEAD       PROGRESS: a node that is down when faults end stays so for ever
 *   CUT        PROGRESS: one link is cut for ever when faults end
 *   ONLY=n     of the properties below only this one
 *   REACH=n    the opposite of a property: a violation says that the state can be reached
 *   FILL_WAITS another rule in the place of the one that NO_FILL_DOTS takes away
 *   LATE_451   a looser rule: the own seal stops new aborts, not a 451
 *   NO_x       takes the rule x away
 *
 * The network only grows: a frame that was sent may arrive never, late, twice, in any order. So
 * frames are kept as facts: "a committed copy was sent by somebody". Each step is one commit of
 * one store, or one frame. A frame of an incarnation that is gone counts for nothing.
 */

#ifndef MOVES
#define MOVES 2
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef DOTS
#define DOTS 2
#endif
#ifdef PROGRESS
#define ENTRIES (MOVES + 2) /* the cluster must be able to take over at last */
#define QUIET   quiet
#else
#define ENTRIES MOVES
#define QUIET   false
#endif

#define A 0
#define B 1
#define C 2

/* States of the message at a node; they only rise. */
#define NONE      0
#define UNDECIDED 1
#define ABORTED   2
#define COMMITTED 3
#define SETTLED   4

/* What the client has heard. */
#define WAITS   1 /* the dot was sent, no answer yet */
#define REFUSES 2 /* A has decided to abort and waits for a peer */
#define SAID250 3
#define SAID451 4
#define CLOSED  5

/* Nodes. */
#define DOWN  0
#define UP    1
#define GONE  2 /* for ever */
#define WIPED 3 /* down, its disk is lost */

/* A try to deliver, at its holder. */
#define ASKS 1
#define SENT 2 /* the final dot is under way */

/* --- Properties --- */
#ifdef REACH
#define HOLDS(number, cond) skip
#define REACHED(number, cond) assert(!(cond) || REACH != number || number == 0)
#else
#ifdef ONLY
#define HOLDS(number, cond) assert((cond) || ONLY != number || number == 0)
#else
#define HOLDS(number, cond) assert((cond) || number == 0)
#endif
#define REACHED(number, cond) skip
#endif
#define V1  101 /* no dot by a consent given when an OUTCOME was durable on two */
#define V1B 102 /* no two dots under way */
#define V2  103 /* no dot for a message that got a 451, no 451 for one that got a dot */
#define V3  104 /* a 250 is durable on two */
#define V4  105 /* a 250 that is not delivered has a copy */
#define V5  106 /* a second delivery is flagged before its dot */
#define V6  107 /* PROGRESS: at last what has a 250 is delivered, and no copy waits */
#define R1  201 /* delivered by a node that got its copy and its witness after a lost disk */
#define R2  202 /* consent of a refilled node for a dot */
#define R3  203 /* 451 */
#define R4  204 /* an undecided copy committed by resolving, then delivered */
#define R5  205 /* a flagged dot by another holder */
#define R6  206 /* a dot under the newest epoch that two moves made */
#define R7  207 /* delivered in an epoch that a RELEASE began */

/* --- State --- */
byte st[3];   /* the message */
byte up[3];
byte born[3]; /* the process of now may hold leases from this epoch on */
byte fil[3];  /* filled from: a set of nodes */
byte mk[3];   /* DOT marks: a set of questions */
byte cz[3];   /* of them known as closed */
byte ys[3];   /* yes of this node is on its way: a set of questions */
byte yf[3];   /* of them with the word "possible duplicate" */
byte rn[3];   /* "no abort here" has been answered to this node by: a set of nodes */

byte act[3]; /* the try of this process: number of its question + 1 */
byte ph[3];
bool fg[3];  /* flagged as a possible duplicate */

byte kd[DOTS]; /* of a question: holder + 4 * epoch */
byte nk;

/* The log: holder + 4 * epoch + 32 * (A's session has ended); released epochs as a set. */
byte lg[ENTRIES + 1];
byte lm[ENTRIES + 1];
byte ap[3]; /* applied */
byte end;

byte cl; /* the client */
bool orig;   /* A's process of the session still runs */
bool hcmt;   /* A said 250, so COMMIT was sent */
bool hcpy;   /* a committed copy was sent */
bool habt;   /* ABORT was sent */
bool hout;   /* OUTCOME was sent */
byte pa;     /* PUT acknowledged by: a set of nodes */
byte aa;     /* ABORT acknowledged by */
byte hcl;    /* CLOSED was sent of: a set of questions */
bool got;    /* the primary has it */
bool dotted; /* a final dot was sent at some time */
bool two;    /* the OUTCOME was durable on two */
bool lost;   /* a copy lies on a disk that is lost, its node not yet replaced */
byte faults;
bool wiped;
#ifdef REACH
bool resolved; /* a copy was committed by resolving */
#endif
#ifdef PROGRESS
bool quiet;    /* faults have ended */
byte cut;      /* the set of two nodes whose link is cut */
#endif

/* --- Words --- */
#define BIT(k)     (1 << (k))
#define HAS(set, k) (((set) >> (k)) & 1)
#define HOLD(i)    (lg[i] & 3)
#define EPOCH(i)   ((lg[i] >> 2) & 7)
#define ENDED(i)   (lg[i] >> 5)
#define SEALED(n)  ENDED(ap[n])
#define WITNESS(n) (fil[n] == 7)
#define KH(k)      (kd[k] & 3)
#define KE(k)      (kd[k] >> 2)
#define NEXT(n)    (((n) + 1) % 3)
#define LAST(n)    (((n) + 2) % 3)
#define OUTCOMES   ((st[A] == SETTLED) + (st[B] == SETTLED) + (st[C] == SETTLED))
#define HAS_COPY(n) (st[n] == UNDECIDED || st[n] == COMMITTED || st[n] == SETTLED)
#define COPIES     (HAS_COPY(A) + HAS_COPY(B) + HAS_COPY(C) + lost)
#define NO_COPY(n) (st[n] != UNDECIDED && st[n] != COMMITTED)
#define V4_HOLDS   (cl != SAID250 || got || !(NO_COPY(A) && NO_COPY(B) && NO_COPY(C)))
#define FREE(n)    (up[n] == UP)

/* After the faults nothing comes late: only a node that is up sends, over links that work. */
#ifdef PROGRESS
#define LINK(n, x)  (up[x] == UP && (BIT(n) + BIT(x)) != cut)
#define FROM(n, x, cond) (LINK(n, x) && (cond))
#define ARRIVES(fact, n, c1, c2) \
    ((!quiet && fact) || (quiet && (FROM(n, NEXT(n), c1) || FROM(n, LAST(n), c2))))
#define ANSWERS(n, x) (!quiet || LINK(n, x))
#else
#define ARRIVES(fact, n, c1, c2) (fact)
#define ANSWERS(n, x) true
#endif

/* Its holder's process may still send that dot, or waits for the reply. The 11 minutes are
 * meant to be longer than that: so a time-out is not modelled as time, but as its being over. */
#define ABLE(j) (act[KH(j)] == (j) + 1)
#define OPEN(n, j) (HAS(mk[n], j) && !HAS(cz[n], j))
#define RELEASED(n, j) HAS(lm[ap[n]], KE(j))
#ifdef NO_RELEASE_FLAG /* RELEASE takes the mark away, not only the waiting */
#define DOUBT1(n, j, k) ((j) != (k) && OPEN(n, j) && !RELEASED(n, j))
#else
#define DOUBT1(n, j, k) ((j) != (k) && OPEN(n, j))
#endif
#ifdef NO_TIMEOUT
#define WAITS_FOR(j) true
#else
#define WAITS_FOR(j) ABLE(j)
#endif
#define STANDS1(n, j, k, h) \
    ((j) != (k) && OPEN(n, j) && KH(j) != (h) && !RELEASED(n, j) && WAITS_FOR(j))
#if DOTS == 2
#define ANY(f, n, k)     (f(n, 0, k) || f(n, 1, k))
#define ANYH(f, n, k, h) (f(n, 0, k, h) || f(n, 1, k, h))
#elif DOTS == 3
#define ANY(f, n, k)     (f(n, 0, k) || f(n, 1, k) || f(n, 2, k))
#define ANYH(f, n, k, h) (f(n, 0, k, h) || f(n, 1, k, h) || f(n, 2, k, h))
#else
#define ANY(f, n, k)     (f(n, 0, k) || f(n, 1, k) || f(n, 2, k) || f(n, 3, k))
#define ANYH(f, n, k, h) (f(n, 0, k, h) || f(n, 1, k, h) || f(n, 2, k, h) || f(n, 3, k, h))
#endif
#define DOUBT(n, k) ANY(DOUBT1, n, k)
#ifdef NO_DOT_WAIT
#define STANDS(n, k, h) false
#else
#define STANDS(n, k, h) ANYH(STANDS1, n, k, h)
#endif

/* This node believes that it holds the lease; no clock speaks against it. */
#ifdef NO_STOP /* goes on in an epoch that it has proposed to release */
#define STOPPED(h) false
#else
#define STOPPED(h) HAS(lm[end], EPOCH(ap[h]))
#endif
#ifdef NO_WITNESS_HOLDER
#define MAY_HOLD(h) true
#else
#define MAY_HOLD(h) WITNESS(h)
#endif
#define BELIEVES(h) (HOLD(ap[h]) == (h) && EPOCH(ap[h]) >= born[h] && MAY_HOLD(h) && !STOPPED(h))

/* Where no property can be broken any more, all is made alike: less to look at. Marks matter
 * only as long as somebody may ask. */
inline prune() {
#ifndef PROGRESS
    if
    :: nk == DOTS && act[A] == 0 && act[B] == 0 && act[C] == 0 ->
        mk[A] = 0; mk[B] = 0; mk[C] = 0;
        cz[A] = 0; cz[B] = 0; cz[C] = 0;
        hcl = 0;
        kd[0] = 0; kd[1] = 0;
#if DOTS > 2
        kd[2] = 0;
#endif
        two = false;
        if
        :: cl == SAID451 || cl == CLOSED || cl == SAID250 && got ->
            st[A] = 0; st[B] = 0; st[C] = 0;
            up[A] = GONE; up[B] = GONE; up[C] = GONE;
            born[A] = 0; born[B] = 0; born[C] = 0;
            fil[A] = 0; fil[B] = 0; fil[C] = 0;
            rn[A] = 0; rn[B] = 0; rn[C] = 0;
            ap[A] = 0; ap[B] = 0; ap[C] = 0;
            lg[0] = 0; lg[1] = 0; lm[1] = 0;
#if ENTRIES > 1
            lg[2] = 0; lm[2] = 0;
#endif
#if ENTRIES > 2
            lg[3] = 0; lm[3] = 0;
#endif
            end = MOVES;
            faults = FAULTS;
            cl = 0; orig = 0; hcmt = 0; hcpy = 0; habt = 0; hout = 0;
            got = 0; dotted = 0; wiped = 0; lost = 0;
        :: else
        fi;
    :: else
    fi;
#endif
    skip;
}

/* --- Taking the message --- */

/* A's store has the message; the PUT left at the same time, perhaps before. */
inline own_commit() {
    d_step { up[A] == UP && orig && cl == WAITS && st[A] == NONE ->
        st[A] = UNDECIDED;
        printf("A: stored\n");
    }
}

#if defined(NO_SEAL) || defined(NO_SEAL_PUT)
#define TAKES_PUT(n) true
#else
#define TAKES_PUT(n) (!SEALED(n))
#endif
#if defined(NO_SEAL) || defined(NO_SEAL_ABORT)
#define TAKES_ABORT(n) true
#else
#define TAKES_ABORT(n) (!SEALED(n))
#endif
#ifdef NO_ONE_DECISION
#define ACK_MATTERS (cl == WAITS || cl == REFUSES)
#else
#define ACK_MATTERS (cl == WAITS)
#endif

inline put_arrives(n) {
    d_step { up[n] == UP && st[n] != ABORTED && TAKES_PUT(n) &&
             (st[n] == NONE || (ACK_MATTERS && !HAS(pa, n))) &&
             ARRIVES(true, n, NEXT(n) == A && cl == WAITS, LAST(n) == A && cl == WAITS) ->
        if
        :: st[n] == NONE -> st[n] = UNDECIDED;
        :: else
        fi;
        if
        :: ACK_MATTERS -> pa = pa | BIT(n);
        :: else
        fi;
        printf("%d: PUT taken\n", n);
    }
}

#ifdef NO_TWO_COPIES
#define ENOUGH true
#else
#define ENOUGH (pa != 0)
#endif
#ifdef NO_ONE_DECISION
#define MAY250 (cl == REFUSES || (cl == WAITS && HAS_COPY(A)))
#else
#define MAY250 (cl == WAITS && HAS_COPY(A))
#endif

inline say_250() {
    d_step { up[A] == UP && orig && MAY250 && ENOUGH ->
        cl = SAID250;
        pa = 0;
        aa = 0;
        hcmt = true;
        printf("A: says 250\n");
        HOLDS(V3, COPIES >= 2);
        HOLDS(V4, V4_HOLDS);
        prune();
    }
}

/* What the 250 decided becomes durable at A with the next group commit. */
inline own_committed() {
    d_step { up[A] == UP && orig && cl == SAID250 && st[A] == UNDECIDED ->
        st[A] = COMMITTED;
        hcpy = true;
        printf("A: committed\n");
    }
}

/* Others committed it, as they had sealed the session. */
inline close_committed() {
    d_step { up[A] == UP && orig && cl == WAITS && st[A] >= COMMITTED ->
        cl = CLOSED;
        pa = 0;
        printf("A: closes, it is committed already\n");
        prune();
    }
}

#ifdef NO_RISE /* aborts what it knows as committed */
#define RISES true
#else
#define RISES (st[A] <= UNDECIDED)
#endif

/* No progress for 5 s; no clock here: at any time. */
inline decide_abort() {
    d_step { up[A] == UP && orig && cl == WAITS && RISES ->
        st[A] = ABORTED;
        cl = REFUSES;
        habt = true;
#ifndef NO_ONE_DECISION
        pa = 0;
#endif
        printf("A: aborts\n");
    }
}

inline abort_arrives(n) {
    d_step { up[n] == UP && habt && st[n] <= ABORTED && TAKES_ABORT(n) &&
             (st[n] != ABORTED || (cl == REFUSES && !HAS(aa, n))) &&
             ARRIVES(true, n, st[NEXT(n)] == ABORTED, st[LAST(n)] == ABORTED) ->
        st[n] = ABORTED;
        rn[n] = 0;
        if
        :: cl == REFUSES -> aa = aa | BIT(n);
        :: else
        fi;
        printf("%d: ABORT taken\n", n);
        HOLDS(V4, V4_HOLDS);
    }
}

#ifdef NO_TWO_NODE_ABORT
#define REFUSED true
#else
#define REFUSED (aa != 0)
#endif

inline say_451() {
    d_step { up[A] == UP && orig && cl == REFUSES && REFUSED ->
        cl = SAID451;
        pa = 0;
        aa = 0;
        printf("A: says 451\n");
        HOLDS(V2, !dotted);
        REACHED(R3, true);
        prune();
    }
}

inline close_client() {
    d_step { up[A] == UP && orig && cl == REFUSES ->
        cl = CLOSED;
        pa = 0;
        aa = 0;
        printf("A: closes without a reply\n");
        prune();
    }
}

/* --- Spreading what is known --- */

#ifdef NO_MERGE /* an abort stays */
#define TAKES_COPY(n) (st[n] < ABORTED)
#else
#define TAKES_COPY(n) (st[n] < COMMITTED)
#endif

#ifdef NO_RELAY /* commit knowledge and copies come from A alone */
#define HAS_IT(x) (x == A && st[x] == COMMITTED)
#else
#define HAS_IT(x) (st[x] == COMMITTED)
#endif

inline commit_arrives(n) {
    d_step { up[n] == UP && st[n] == UNDECIDED &&
             (ARRIVES(hcmt || hcpy, n, HAS_IT(NEXT(n)), HAS_IT(LAST(n))) ||
                 (n != A && up[A] == UP && orig && cl == SAID250 && ANSWERS(n, A))) ->
        st[n] = COMMITTED;
        hcpy = true;
        rn[n] = 0;
        printf("%d: knows it is committed\n", n);
    }
}

inline copy_arrives(n) {
    d_step { up[n] == UP && TAKES_COPY(n) &&
             ARRIVES(hcpy, n, HAS_IT(NEXT(n)), HAS_IT(LAST(n))) ->
        st[n] = COMMITTED;
        rn[n] = 0;
        printf("%d: committed copy taken\n", n);
    }
}

inline settle(n) {
    st[n] = SETTLED;
    rn[n] = 0;
    hout = true;
    two = two || OUTCOMES >= 2;
}

inline outcome_arrives(n) {
    d_step { up[n] == UP && st[n] != SETTLED &&
             ARRIVES(hout, n, st[NEXT(n)] == SETTLED, st[LAST(n)] == SETTLED) ->
        settle(n);
        printf("%d: OUTCOME taken\n", n);
    }
}

/* An abort told by whoever knows it; this is no answer that a 451 may stand on. */
inline abort_relayed(n) {
    d_step { up[n] == UP && st[n] == UNDECIDED && SEALED(n) &&
             ARRIVES(habt, n, st[NEXT(n)] == ABORTED, st[LAST(n)] == ABORTED) ->
        st[n] = ABORTED;
        rn[n] = 0;
        printf("%d: hears that it is aborted\n", n);
        HOLDS(V4, V4_HOLDS);
    }
}

#ifdef NO_SEAL_UPTO /* sealed: refuses the ABORT, takes the "all up to here is decided" after it */
inline upto_arrives(n) {
    d_step { up[n] == UP && st[n] == UNDECIDED && SEALED(n) && habt ->
        st[n] = COMMITTED;
        hcpy = true;
        rn[n] = 0;
        printf("%d: UPTO taken, knows no abort: committed\n", n);
    }
}
#endif

#ifdef NO_PRESENCE /* takes it for aborted because a peer has never heard of it */
inline absence(n) {
    d_step { up[n] == UP && st[n] == UNDECIDED && SEALED(n) &&
             ((up[NEXT(n)] == UP && st[NEXT(n)] == NONE) ||
              (up[LAST(n)] == UP && st[LAST(n)] == NONE)) ->
        st[n] = ABORTED;
        printf("%d: takes it for aborted\n", n);
        HOLDS(V4, V4_HOLDS);
    }
}
#endif

#ifdef NO_TOMBSTONE /* who knows that all three have settled it forgets it */
inline forget(n) {
    d_step { up[n] == UP && st[n] == SETTLED && OUTCOMES == 3 ->
        st[n] = NONE;
        printf("%d: forgets\n", n);
    }
}
#endif

/* --- Resolving --- */

#ifdef NO_WITNESS_RESOLVE
#define MAY_RESOLVE(p) true
#else
#define MAY_RESOLVE(p) WITNESS(p)
#endif
#ifdef NO_WITNESS_ASK
#define MAY_ASK(n) true
#else
#define MAY_ASK(n) WITNESS(n)
#endif

inline resolve_answered(n, p) {
    d_step { up[n] == UP && st[n] == UNDECIDED && SEALED(n) && MAY_ASK(n) && !HAS(rn[n], p) &&
             up[p] == UP && SEALED(p) && MAY_RESOLVE(p) && st[p] != ABORTED && ANSWERS(n, p) ->
        rn[n] = rn[n] | BIT(p);
        printf("%d: no abort here, to %d\n", p, n);
    }
}

#ifdef NO_RESOLVE
#define RESOLVED(n) true
#else
#define RESOLVED(n) (rn[n] != 0)
#endif

inline resolve(n) {
    d_step { up[n] == UP && st[n] == UNDECIDED && SEALED(n) && MAY_ASK(n) && RESOLVED(n) ->
        st[n] = COMMITTED;
        rn[n] = 0;
        hcpy = true;
#ifdef REACH
        resolved = true;
#endif
        printf("%d: resolved: committed\n", n);
    }
}

/* A's process of the session is gone, and an abort would be durable. */
inline origin_commits() {
    d_step { up[A] == UP && !orig && st[A] == UNDECIDED && WITNESS(A) ->
        st[A] = COMMITTED;
        rn[A] = 0;
        hcpy = true;
        printf("A: commits its own after a restart\n");
    }
}

/* --- Delivering --- */

#ifdef NO_COMMITTED_ONLY
#define DELIVERABLE(n) (st[n] == COMMITTED || st[n] == UNDECIDED)
#else
#define DELIVERABLE(n) (st[n] == COMMITTED)
#endif
#ifdef NO_OWN_TABLE
#define OWN_STANDS(h) false
#else
#define OWN_STANDS(h) STANDS(h, 9, h)
#endif
#ifdef PROGRESS /* the last question is for last, by the holder of then */
#define MAY_TRY(h) (quiet && ap[h] == end && nk < DOTS || !quiet && nk < DOTS - 1)
#else
#define MAY_TRY(h) (nk < DOTS)
#endif

inline ask(h) {
    d_step { up[h] == UP && act[h] == 0 && MAY_TRY(h) && DELIVERABLE(h) && BELIEVES(h) &&
             !OWN_STANDS(h) ->
        fg[h] = DOUBT(h, 9);
        kd[nk] = (h) + 4 * EPOCH(ap[h]);
#ifndef NO_OWN_MARK
#ifdef NO_OLD_MARKS
        mk[h] = 0;
#endif
        mk[h] = mk[h] | BIT(nk);
#endif
        nk++;
        act[h] = nk;
        ph[h] = ASKS;
        printf("%d: asks for dot %d in epoch %d\n", h, nk - 1, EPOCH(ap[h]));
    }
}

#ifdef NO_EXACT_EPOCH
#define SAME_EPOCH(p, k) true
#else
#define SAME_EPOCH(p, k) (EPOCH(ap[p]) == KE(k))
#endif
#ifdef NO_WITNESS_DOT
#define MAY_CONSENT(p) true
#else
#define MAY_CONSENT(p) WITNESS(p)
#endif
#ifdef NO_OUTCOME_ANSWER
#define NOT_SETTLED(p) true
#else
#define NOT_SETTLED(p) (st[p] != SETTLED)
#endif
#ifdef NO_ABORT_ANSWER
#define NOT_ABORTED(p) true
#else
#define NOT_ABORTED(p) (st[p] != ABORTED)
#endif

/* A mark stands beside a copy, with which it is told to a node that lost its memory. */
inline consent(h, p) {
    d_step { st[p] != NONE && ph[h] == ASKS && up[p] == UP && !HAS(ys[p], act[h] - 1) && !HAS(cz[p], act[h] - 1) &&
             MAY_CONSENT(p) && SAME_EPOCH(p, act[h] - 1) && NOT_SETTLED(p) && NOT_ABORTED(p) &&
             !STANDS(p, act[h] - 1, h) && ANSWERS(h, p) ->
        if
        :: DOUBT(p, act[h] - 1) -> yf[p] = yf[p] | BIT(act[h] - 1);
        :: else
        fi;
        ys[p] = ys[p] | BIT(act[h] - 1);
#ifndef NO_DURABLE_YES
#ifdef NO_OLD_MARKS
        mk[p] = 0;
#endif
        mk[p] = mk[p] | BIT(act[h] - 1);
#endif
        printf("%d: yes to %d for dot %d\n", p, h, act[h] - 1);
        if
        :: two -> yf[p] = yf[p] | BIT(act[h] + 3); /* for V1 */
        :: else
        fi;
        REACHED(R2, wiped && fil[p] == 7 && born[p] > 0);
    }
}

#ifdef NO_QUESTION
#define CONSENT(h, p) true
#else
#define CONSENT(h, p) HAS(ys[p], act[h] - 1)
#endif

inline send_dot(h, p) {
    d_step { up[h] == UP && ph[h] == ASKS && DELIVERABLE(h) && CONSENT(h, p) && ANSWERS(h, p) ->
        fg[h] = fg[h] || HAS(yf[p], act[h] - 1);
        ph[h] = SENT;
        dotted = true;
        printf("%d: sends dot %d on the word of %d, flagged %d\n", h, act[h] - 1, p, fg[h]);
#ifdef NO_QUESTION
        HOLDS(V1, !two);
#else
        HOLDS(V1, !HAS(yf[p], act[h] + 3));
#endif
        HOLDS(V1B, ph[NEXT(h)] != SENT && ph[LAST(h)] != SENT);
        HOLDS(V2, cl != SAID451);
        HOLDS(V5, !got || fg[h]);
        REACHED(R1, wiped && born[h] > 0 && fil[h] == 7);
        REACHED(R4, resolved);
        REACHED(R5, fg[h] && nk > 1 && KH(0) != h);
        REACHED(R6, KE(act[h] - 1) == 2);
        REACHED(R7, KE(act[h] - 1) > 0 && HAS(lm[end], KE(act[h] - 1) - 1));
    }
}

/* The try is over: what is still on its way for it is nobody's business. */
inline end_try(h) {
    ys[A] = ys[A] & ~BIT(act[h] - 1);
    ys[B] = ys[B] & ~BIT(act[h] - 1);
    ys[C] = ys[C] & ~BIT(act[h] - 1);
    yf[A] = yf[A] & ~(17 << (act[h] - 1));
    yf[B] = yf[B] & ~(17 << (act[h] - 1));
    yf[C] = yf[C] & ~(17 << (act[h] - 1));
    act[h] = 0;
    ph[h] = 0;
    fg[h] = false;
}

inline reply_arrives(h) {
    d_step { up[h] == UP && ph[h] == SENT ->
        got = true;
        end_try(h);
        settle(h);
        printf("%d: delivered, outcome stored\n", h);
        prune();
    }
}

/* The worse case: the primary has it. */
inline reply_lost(h) {
    d_step { !QUIET && up[h] == UP && ph[h] == SENT ->
        printf("%d: no reply to dot %d\n", h, act[h] - 1);
        got = true;
        end_try(h);
        prune();
    }
}

/* Refused with a 4xx, or not sent after all. */
inline close_dot(h) {
    d_step { up[h] == UP && (ph[h] == SENT && !QUIET ||
             ph[h] == ASKS && (!QUIET || !BELIEVES(h) || KE(act[h] - 1) != EPOCH(ap[h]) ||
                               st[h] != COMMITTED)) ->
        printf("%d: closes dot %d\n", h, act[h] - 1);
        cz[h] = cz[h] | BIT(act[h] - 1);
        hcl = hcl | BIT(act[h] - 1);
        end_try(h);
        prune();
    }
}

inline closed_arrives(n, k) {
    d_step { up[n] == UP && HAS(hcl, k) && OPEN(n, k) &&
             ARRIVES(true, n, HAS(cz[NEXT(n)], k), HAS(cz[LAST(n)], k)) ->
        cz[n] = cz[n] | BIT(k);
        printf("%d: dot %d is closed\n", n, k);
    }
}

#ifdef NO_DOUBT_KEPT /* who has waited long enough has the mark taken away, and knows of it */
inline overrule(h, n, j) {
    d_step { up[h] == UP && ph[h] == ASKS && up[n] == UP && OPEN(n, j) && KH(j) != h && !ABLE(j) ->
        cz[n] = cz[n] | BIT(j);
        fg[h] = true;
        printf("%d: has the mark of dot %d taken away at %d\n", h, j, n);
    }
}
#define OVERRULE(j) \
    :: overrule(A, A, j) :: overrule(A, B, j) :: overrule(A, C, j) \
    :: overrule(B, A, j) :: overrule(B, B, j) :: overrule(B, C, j) \
    :: overrule(C, A, j) :: overrule(C, B, j) :: overrule(C, C, j)
#endif

#ifdef NO_DOT_NUMBER /* CLOSED names only the epoch: late, it closes a later dot of that epoch */
inline closed_late(n, j, k) {
    d_step { up[n] == UP && HAS(hcl, j) && k < nk && kd[j] == kd[k] && OPEN(n, k) && KH(j) != n ->
        cz[n] = cz[n] | BIT(k);
        printf("%d: a late CLOSED of dot %d closes dot %d\n", n, j, k);
    }
}
#endif

#ifdef PROGRESS
#define TARGET(x) (up[x] == UP && WITNESS(x))
#else
#define TARGET(x) (up[x] == UP)
#endif

/* --- Control: what each node applies, in the order of the log, each at its own pace --- */

#ifdef LATE_451 /* an abort that was stored before may still lead to a 451 */
#define SEAL_CLOSES (cl == WAITS)
#else
#define SEAL_CLOSES (cl == WAITS || cl == REFUSES)
#endif

inline apply(n) {
    d_step { up[n] == UP && ap[n] < end ->
        ap[n] = ap[n] + 1;
        printf("%d: applies entry %d\n", n, ap[n]);
        if
#ifndef NO_SELF_SEAL
        :: n == A && SEALED(A) && orig && SEAL_CLOSES ->
            cl = CLOSED;
            pa = 0;
            aa = 0;
            prune();
#endif
        :: else
        fi;
    }
}

inline append(h, e, ended, released) {
    lg[end + 1] = (h) + 4 * (e) + 32 * (ended);
    lm[end + 1] = lm[end] | (released);
    end++;
    printf("log: entry %d: holder %d, epoch %d, A ended %d\n", end, HOLD(end), EPOCH(end),
        ENDED(end));
}

#ifdef NO_DRAIN /* does not finish its dots before it proposes */
#define IDLE(h) true
#else
#define IDLE(h) (act[h] == 0)
#endif

inline release(h, x) {
    d_step { !QUIET && end < MOVES && HOLD(end) == h && up[h] == UP && EPOCH(ap[h]) == EPOCH(end) &&
             EPOCH(end) >= born[h] && IDLE(h) && TARGET(x) ->
        append(x, EPOCH(end) + 1, ENDED(end), BIT(EPOCH(end)));
    }
}

/* The holder's session ends, as its node died or as the others think so: its slots go to x. */
inline take_over(x) {
    d_step { !QUIET && end < MOVES && HOLD(end) != x && TARGET(x) ->
        append(x, EPOCH(end) + 1, (ENDED(end) || HOLD(end) == A), 0);
    }
}

inline end_session() {
    d_step { !QUIET && end < MOVES && HOLD(end) != A && !ENDED(end) ->
        append(HOLD(end), EPOCH(end), 1, 0);
    }
}

/* --- Faults --- */

inline stop(n) {
    if
    :: ph[n] == SENT -> got = true; end_try(n);
    :: ph[n] == ASKS -> end_try(n);
    :: else
    fi;
    born[n] = EPOCH(end) + 1;
    rn[n] = 0;
    if
    :: n == A ->
        orig = false;
        pa = 0;
        aa = 0;
        if
        :: cl == WAITS || cl == REFUSES -> cl = CLOSED;
        :: else
        fi;
    :: else
    fi;
}

inline crash(n) {
    d_step { !QUIET && faults < FAULTS && up[n] == UP ->
        faults++;
        printf("%d: crashes\n", n);
        stop(n);
        up[n] = DOWN;
        prune();
    }
}

inline wipe(n) {
    d_step { !QUIET && faults < FAULTS && !wiped && up[n] == UP ->
        faults++;
        wiped = true;
        printf("%d: crashes and loses its disk\n", n);
        stop(n);
        up[n] = WIPED;
        lost = HAS_COPY(n);
        st[n] = NONE;
        mk[n] = 0;
        cz[n] = 0;
        ap[n] = 0;
        fil[n] = 0;
        HOLDS(V4, V4_HOLDS);
        prune();
    }
}

/* A new session of n: opening it ends the old one and frees its slots. */
#define MUST_END(n) (HOLD(end) == (n) && EPOCH(end) < born[n] || (n) == A && !ENDED(end))

inline end_old(n) {
    if
    :: HOLD(end) == n && EPOCH(end) < born[n] && up[NEXT(n)] == UP ->
        append(NEXT(n), EPOCH(end) + 1, (ENDED(end) || n == A), 0);
    :: HOLD(end) == n && EPOCH(end) < born[n] && up[NEXT(n)] != UP ->
        append(LAST(n), EPOCH(end) + 1, (ENDED(end) || n == A), 0);
    :: else ->
        if
        :: n == A && !ENDED(end) -> append(HOLD(end), EPOCH(end), 1, 0);
        :: else
        fi;
    fi;
}

inline restart(n) {
    d_step { up[n] == DOWN && (!MUST_END(n) || end < ENTRIES) ->
        end_old(n);
        up[n] = UP;
        printf("%d: is up again\n", n);
    }
}

#ifdef NO_REMOVAL_WAIT
#define REMOVED(n) (!MUST_END(n) || end < ENTRIES)
#else
#define RESOLVED_AT(n) (SEALED(n) && st[n] != UNDECIDED)
#define REMOVED(n) ((!MUST_END(n) || (n) != A && end < ENTRIES) \
                    && ((n) != A || RESOLVED_AT(B) && RESOLVED_AT(C)))
#endif

inline rejoin(n) {
    d_step { up[n] == WIPED && REMOVED(n) ->
        end_old(n);
        up[n] = UP;
        fil[n] = BIT(n);
#ifndef NO_JOIN_APPLIED /* speaks only when it has applied the entry that made it a member */
        ap[n] = end;
#endif
        lost = false;
#ifndef NO_INCARNATION
        pa = pa & ~BIT(n);
        aa = aa & ~BIT(n);
        ys[n] = 0;
        yf[n] = 0;
        rn[A] = rn[A] & ~BIT(n);
        rn[B] = rn[B] & ~BIT(n);
        rn[C] = rn[C] & ~BIT(n);
#endif
        printf("%d: joins again, empty\n", n);
        HOLDS(V4, V4_HOLDS);
    }
}

#ifdef NO_FILL_BOTH
#define FILLED(n, x) 7
#else
#define FILLED(n, x) (fil[n] | BIT(x))
#endif

#ifdef FILL_WAITS /* instead of telling marks: none while a dot of its own is under way */
#define MAY_FILL(x) (act[x] == 0)
#else
#define MAY_FILL(x) true
#endif

/* All that x holds, settled or has marked comes to n, marks first. */
inline fill(n, x) {
    d_step { up[n] == UP && !HAS(fil[n], x) && up[x] == UP && WITNESS(x) && MAY_FILL(x) &&
             ANSWERS(n, x) ->
        if
        :: st[x] == SETTLED && st[n] != SETTLED -> settle(n);
        :: st[x] == COMMITTED && TAKES_COPY(n) -> st[n] = COMMITTED; rn[n] = 0;
        :: st[x] == ABORTED && st[n] < ABORTED -> st[n] = ABORTED; rn[n] = 0;
        :: st[x] == UNDECIDED && st[n] == NONE && !SEALED(n) -> st[n] = UNDECIDED;
        :: else
        fi;
#ifndef NO_FILL_DOTS
        mk[n] = mk[n] | mk[x];
        cz[n] = cz[n] | cz[x];
#endif
        fil[n] = FILLED(n, x);
        printf("%d: filled from %d\n", n, x);
        HOLDS(V4, V4_HOLDS);
    }
}

#ifdef PROGRESS
/* Faults end. Who is down now stays so for ever (DEAD), or comes back. */
inline calm() {
    d_step { !quiet ->
        quiet = true;
        printf("faults end\n");
#ifdef DEAD
        if
        :: up[A] == DOWN || up[A] == WIPED -> up[A] = GONE;
        :: else
        fi;
        if
        :: up[B] == DOWN || up[B] == WIPED -> up[B] = GONE;
        :: else
        fi;
        if
        :: up[C] == DOWN || up[C] == WIPED -> up[C] = GONE;
        :: else
        fi;
#endif
#ifdef CUT
        cut = CUT;
#endif
    }
}

/* The cluster sees that the holder is no more, or that A is. */
inline take_over_dead(x) {
    d_step { quiet && end < ENTRIES && HOLD(end) != x && up[x] == UP && WITNESS(x) &&
             (up[HOLD(end)] != UP || EPOCH(end) < born[HOLD(end)]) ->
        append(x, EPOCH(end) + 1, (ENDED(end) || HOLD(end) == A), 0);
    }
}

inline end_dead_session() {
    d_step { quiet && end < ENTRIES && HOLD(end) != A && !ENDED(end) && up[A] != UP ->
        append(HOLD(end), EPOCH(end), 1, 0);
    }
}

#define AT_REST(n) (up[n] != UP || st[n] == NONE || st[n] == ABORTED || st[n] == SETTLED)
#endif

#define EACH(step) :: step(A) :: step(B) :: step(C)
#define EACH_PAIR(step) \
    :: step(A, B) :: step(A, C) :: step(B, A) :: step(B, C) :: step(C, A) :: step(C, B)

init {
    d_step {
        up[A] = UP; up[B] = UP; up[C] = UP;
        fil[A] = 7; fil[B] = 7; fil[C] = 7;
        orig = true;
        cl = WAITS;
    }
#ifdef HOLDER
    lg[0] = HOLDER;
#else
    if
    :: lg[0] = A
    :: lg[0] = B
    fi;
#endif
    do
    :: own_commit()
    :: put_arrives(B)
    :: put_arrives(C)
    :: say_250()
    :: own_committed()
    :: close_committed()
    :: decide_abort()
    :: abort_arrives(B)
    :: abort_arrives(C)
    :: say_451()
    :: close_client()
    EACH(commit_arrives)
    EACH(copy_arrives)
    EACH(outcome_arrives)
    EACH(abort_relayed)
#ifdef NO_SEAL_UPTO
    :: upto_arrives(B)
    :: upto_arrives(C)
#endif
#ifdef NO_PRESENCE
    EACH(absence)
#endif
#ifdef NO_TOMBSTONE
    EACH(forget)
#endif
    EACH_PAIR(resolve_answered)
    EACH(resolve)
#ifndef NO_ORIGIN_COMMIT
    :: origin_commits()
#endif
    EACH(ask)
    EACH_PAIR(consent)
    EACH_PAIR(send_dot)
    EACH(reply_arrives)
    EACH(reply_lost)
    EACH(close_dot)
#ifndef NO_CLOSED
    :: closed_arrives(A, 0) :: closed_arrives(B, 0) :: closed_arrives(C, 0)
    :: closed_arrives(A, 1) :: closed_arrives(B, 1) :: closed_arrives(C, 1)
#if DOTS > 2
    :: closed_arrives(A, 2) :: closed_arrives(B, 2) :: closed_arrives(C, 2)
#endif
#endif
#ifdef NO_DOUBT_KEPT
    OVERRULE(0)
    OVERRULE(1)
#endif
#ifdef NO_DOT_NUMBER
    :: closed_late(A, 0, 1) :: closed_late(B, 0, 1) :: closed_late(C, 0, 1)
    :: closed_late(A, 1, 2) :: closed_late(B, 1, 2) :: closed_late(C, 1, 2)
#endif
    EACH(apply)
    EACH_PAIR(release)
    EACH(take_over)
    :: end_session()
#if FAULTS > 0
#if defined(CRASH) || !defined(WIPE)
    EACH(crash)
#endif
#if defined(WIPE) || !defined(CRASH)
    EACH(wipe)
    EACH(rejoin)
    EACH_PAIR(fill)
#endif
    EACH(restart)
#endif
#ifdef PROGRESS
    :: calm()
    EACH(take_over_dead)
    :: end_dead_session()
    :: else ->
        HOLDS(V6, (cl != SAID250 || got) && AT_REST(A) && AT_REST(B) && AT_REST(C));
        break;
#endif
    od
}
