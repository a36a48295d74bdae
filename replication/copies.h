/*
 * copies: what a node does when a record about a copy comes, given what it has: the rules of
 * docs/wire.md as pure functions, one per kind. The model in tests/model checks the same rules.
 * They are asked in the order of the store's commits.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/copyrec.h"

/* What the store knows of one id at the moment. */
struct copy_facts {
    enum copy_state state; /* as stored, with commit knowledge (UPTO) counted in */
    bool same_digest;      /* PUT: the body is the one that is stored */
    bool sealed;           /* this node has applied the end of the id's session */
    bool from_origin;      /* the record comes from the site that drew the id */
    bool own_origin;       /* this node is that site */
    bool witness;          /* this node is filled */
    bool upto_covers;      /* commit knowledge of the session reaches this id */
    bool own_dot;          /* DOT: this node is the holder that asks */
    /* DOT */
    bool has_slot;         /* some epoch is applied here for its domain */
    uint64_t newest_epoch; /* of the domain's slot or placement */
    uint16_t newest_site;
    bool has_dot; /* a mark is stored: */
    uint16_t dot_site;
    uint64_t dot_session, dot_epoch;
    bool dot_over;  /* it is closed, or its slot epoch was released: nobody waits for it */
    bool dot_doubt; /* it stands for an earlier dot, too, whose end nobody learnt */
    bool flagged;   /* CLOSED: the copy here counts a possible duplicate, durably */
};

struct copy_verdict {
    struct copy_answer answer;
    enum copy_state state;    /* the new one; the same: nothing to store */
    bool store_dot;           /* DOT, MARK: the mark is to be written, */
    bool keep_holder;         /* MARK: of the holder that is named here already, */
    bool dot_over, dot_doubt; /* with these */
    bool drop_dot;
};

/* NONE takes what was sent, or COMMITTED where commit knowledge reaches the id; UNDECIDED of a
 * sealed session is refused (SEALED) unless it is here already; COMMITTED wins over ABORTED. */
struct copy_verdict copies_on_put(const struct copy_facts *f, enum copy_state sent);

/* OK only when the abort is durable with this commit, or was before. SEALED: too late, also for
 * an id that is committed here, which takes a seal somewhere. */
struct copy_verdict copies_on_abort(const struct copy_facts *f);

/* Commit knowledge of a session: state and id do not count. SEALED: it may cover an abort that
 * was refused here for the seal; what is undecided is resolved. */
struct copy_verdict copies_on_upto(const struct copy_facts *f);

/* IS_ABORTED, MISSING: the body is not here: the sender may PUT it, committed. */
struct copy_verdict copies_on_commit(const struct copy_facts *f);

/* r: site and epoch of the asking holder, slot_epoch. A mark of another site, or of another
 * session of the same site, that is not over is FOREIGN_DOT, whoever asks. When the asker has
 * waited long enough (or need not), it names that mark's slot epoch in `counter` and asks
 * again: its own mark then takes the other's place in one step. The waiting ends there, the
 * doubt does not: it goes over to the new mark, and the answer is DOUBT instead of OK. */
struct copy_verdict copies_on_dot(const struct copy_facts *f, const struct copy_record *r);

/* The mark of exactly that site and slot epoch goes; or is over, and stays for its doubt, until
 * the copy itself says that it may be a duplicate. MISSING: there is none. */
struct copy_verdict copies_on_closed(const struct copy_facts *f, const struct copy_record *r);

/* What a peer knows of dots, for a node that lost its memory. */
struct copy_verdict copies_on_mark(const struct copy_facts *f, const struct copy_record *r);

/* all_final: after the merge no recipient is pending and no notification is owed. OK: what it
 * says is durable here. The mark goes when all is final, and only then: the holder of a try
 * that ended otherwise sends CLOSED behind its OUTCOME. */
struct copy_verdict copies_on_outcome(const struct copy_facts *f, bool all_final);

/* May this node say which ids of a session it saw aborted? OK; LAG, NOT_WITNESS: no. */
struct copy_verdict copies_on_resolve(const struct copy_facts *f);

/* An undecided copy of a sealed session after a filled node that sealed it too has told all its
 * aborts. NOT_WITNESS: this node may have forgotten an abort itself. */
struct copy_verdict copies_on_resolved(const struct copy_facts *f);
