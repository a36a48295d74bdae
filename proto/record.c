#include "proto/record.h"

#include "base/assert.h"
#include "base/limits.h"
#include "proto/record.pb-c.h"

/* The largest envelope with every field at its limit: tags, lengths and varints take at most 80
 * bytes a recipient and 512 for the rest. */
static_assert(LIMIT_SMTP_RCPTS * (LIMIT_SMTP_PATH_BYTES + LIMIT_REPLY_KEPT_BYTES + 80) +
                      LIMIT_SMTP_PATH_BYTES + LIMIT_SMTP_DOMAIN_BYTES +
                      LIMIT_TRACE_HEADER_BYTES + LIMIT_CLIENT_ADDR_BYTES +
                      LIMIT_SMTP_HELO_BYTES + LIMIT_TLS_TEXT_BYTES + LIMIT_REPLY_KEPT_BYTES +
                      512 <=
                  LIMIT_ENVELOPE_BYTES,
              "an envelope within its limits fits a record");
static_assert((int)FATE_DELIVERED == (int)TRISPOOL__RECIPIENT_RECORD__FATE__FATE_DELIVERED &&
                  (int)PHASE_DONE == (int)TRISPOOL__ENVELOPE_RECORD__PHASE__PHASE_DONE &&
                  (int)DSN_WITHHELD == (int)TRISPOOL__ENVELOPE_RECORD__DSN_FATE__DSN_WITHHELD,
              "the enums of envelope.h and record.proto agree");

/* What protobuf-c may allocate while it takes a record apart. Bytes that ask for more (one
 * unknown field costs it 24 bytes and more) are not a record of ours. */
#define SCRATCH_BYTES (4 * LIMIT_ENVELOPE_BYTES)

/* An envelope in protobuf-c's form, its parts on the stack. */
struct message {
    Trispool__EnvelopeRecord envelope;
    Trispool__RecipientRecord rcpts[LIMIT_SMTP_RCPTS];
    Trispool__RecipientRecord *rcpt_ptrs[LIMIT_SMTP_RCPTS];
};

static bool within(struct str s, size_t limit)
{
    return s.n <= limit;
}

static bool rcpt_legal(const struct rcpt *r)
{
    return r->path.n > 0 && within(r->path, LIMIT_SMTP_PATH_BYTES) &&
           (int)r->fate >= FATE_PENDING && r->fate <= FATE_DELIVERED &&
           within(r->reply, LIMIT_REPLY_KEPT_BYTES);
}

/* The one place that says what a legal envelope is: asked before encoding and after decoding.
 */
static bool legal(const struct envelope *e)
{
    if (e->domain.n == 0 || !within(e->domain, LIMIT_SMTP_DOMAIN_BYTES) ||
        !within(e->sender, LIMIT_SMTP_PATH_BYTES) || e->body_bytes > LIMIT_BODY_BYTES ||
        !within(e->trace_header, LIMIT_TRACE_HEADER_BYTES) ||
        !within(e->client_addr, LIMIT_CLIENT_ADDR_BYTES) ||
        !within(e->client_helo, LIMIT_SMTP_HELO_BYTES) ||
        !within(e->tls, LIMIT_TLS_TEXT_BYTES) || !within(e->dsn_reply, LIMIT_REPLY_KEPT_BYTES))
        return false;
    if ((int)e->phase < PHASE_DELIVER || e->phase > PHASE_DONE || (int)e->dsn < DSN_NONE ||
        e->dsn > DSN_WITHHELD || (int)e->sender_auth < SENDER_UNASKED ||
        e->sender_auth > SENDER_PERMERROR)
        return false;
    if ((e->rcpt_count == 0) != (e->digest_until_ms != 0) || e->rcpt_count > LIMIT_SMTP_RCPTS)
        return false;
    if (e->digest_until_ms != 0 && (e->phase == PHASE_DELIVER || e->sender.n == 0))
        return false;
    for (uint32_t i = 0; i < e->rcpt_count; i++)
        if (!rcpt_legal(&e->rcpts[i]))
            return false;
    return true;
}

/* protobuf-c does not write through the pointer while it packs. */
static ProtobufCBinaryData bytes_of(const void *p, size_t n)
{
    return (ProtobufCBinaryData){.len = n, .data = (uint8_t *)(uintptr_t)p};
}

static ProtobufCBinaryData bytes_of_str(struct str s)
{
    return bytes_of(s.p, s.n);
}

static void message_rcpts(struct message *m, const struct envelope *e)
{
    for (uint32_t i = 0; i < e->rcpt_count; i++) {
        const struct rcpt *from = &e->rcpts[i];
        Trispool__RecipientRecord *to = &m->rcpts[i];

        trispool__recipient_record__init(to);
        to->path = bytes_of_str(from->path);
        to->fate = (Trispool__RecipientRecord__Fate)from->fate;
        to->attempts = from->attempts;
        to->last_ms = from->last_ms;
        to->next_ms = from->next_ms;
        to->odd_since_ms = from->odd_since_ms;
        to->final_ms = from->final_ms;
        to->reply = bytes_of_str(from->reply);
        m->rcpt_ptrs[i] = to;
    }
    m->envelope.n_rcpts = e->rcpt_count;
    m->envelope.rcpts = m->rcpt_ptrs;
}

static void message_of(struct message *m, const struct envelope *e)
{
    Trispool__EnvelopeRecord *to = &m->envelope;

    trispool__envelope_record__init(to);
    to->id = bytes_of(e->id.b, sizeof e->id.b);
    to->domain = bytes_of_str(e->domain);
    to->domain_generation = e->domain_generation;
    to->sender = bytes_of_str(e->sender);
    message_rcpts(m, e);
    to->body_bytes = e->body_bytes;
    to->body_digest = e->body_digest;
    to->body_number = e->body_number;
    to->eight_bit = e->eight_bit;
    to->trace_header = bytes_of_str(e->trace_header);
    to->received_ms = e->received_ms;
    to->received_wall_ms = e->received_wall_ms;
    to->deadline_ms = e->deadline_ms;
    to->client_addr = bytes_of_str(e->client_addr);
    to->client_helo = bytes_of_str(e->client_helo);
    to->tls = bytes_of_str(e->tls);
    to->held = e->held;
    to->possible_duplicates = e->possible_duplicates;
    to->phase = (Trispool__EnvelopeRecord__Phase)e->phase;
    to->dsn = (Trispool__EnvelopeRecord__DsnFate)e->dsn;
    to->dsn_attempts = e->dsn_attempts;
    to->dsn_next_ms = e->dsn_next_ms;
    to->dsn_deadline_ms = e->dsn_deadline_ms;
    to->dsn_reply = bytes_of_str(e->dsn_reply);
    to->settled_ms = e->settled_ms;
    to->settled_wall_ms = e->settled_wall_ms;
    to->held_index = e->held_index;
    to->sender_auth = (uint32_t)e->sender_auth;
    to->smtputf8 = e->smtputf8;
    to->digest_until_ms = e->digest_until_ms;
}

size_t envelope_encoded_size(const struct envelope *e)
{
    struct message m;

    if (!legal(e))
        return 0;
    message_of(&m, e);
    return trispool__envelope_record__get_packed_size(&m.envelope);
}

size_t envelope_encode(const struct envelope *e, void *buf)
{
    struct message m;

    ASSERT(legal(e));
    message_of(&m, e);
    return trispool__envelope_record__pack(&m.envelope, buf);
}

static void *scratch_alloc(void *arena, size_t bytes)
{
    return arena_take(arena, bytes);
}

static void scratch_free(void *arena, void *p)
{
    (void)arena; /* the arena is given back whole */
    (void)p;
}

/* A copy in the arena. An empty field never points into the scratch. */
static bool copy_str(struct arena *a, const ProtobufCBinaryData *from, struct str *to)
{
    *to = arena_str(a, (struct str){(const char *)from->data, from->len});
    return to->p != NULL;
}

static bool copy_rcpts(const Trispool__EnvelopeRecord *from, struct arena *a,
                       struct envelope *to)
{
    to->rcpts = arena_take(a, from->n_rcpts * sizeof *to->rcpts);
    if (to->rcpts == NULL)
        return false;
    to->rcpt_count = (uint32_t)from->n_rcpts;
    for (size_t i = 0; i < from->n_rcpts; i++) {
        const Trispool__RecipientRecord *f = from->rcpts[i];
        struct rcpt *t = &to->rcpts[i];

        *t = (struct rcpt){
            .fate = (enum fate)f->fate,
            .attempts = f->attempts,
            .last_ms = f->last_ms,
            .next_ms = f->next_ms,
            .odd_since_ms = f->odd_since_ms,
            .final_ms = f->final_ms,
        };
        if (!copy_str(a, &f->path, &t->path) || !copy_str(a, &f->reply, &t->reply))
            return false;
    }
    return true;
}

static bool copy_strings(const Trispool__EnvelopeRecord *from, struct arena *a,
                         struct envelope *to)
{
    return copy_str(a, &from->domain, &to->domain) && copy_str(a, &from->sender, &to->sender) &&
           copy_str(a, &from->trace_header, &to->trace_header) &&
           copy_str(a, &from->client_addr, &to->client_addr) &&
           copy_str(a, &from->client_helo, &to->client_helo) &&
           copy_str(a, &from->tls, &to->tls) && copy_str(a, &from->dsn_reply, &to->dsn_reply);
}

static void copy_numbers(const Trispool__EnvelopeRecord *from, struct envelope *to)
{
    memcpy(to->id.b, from->id.data, sizeof to->id.b);
    to->domain_generation = from->domain_generation;
    to->body_bytes = from->body_bytes;
    to->body_digest = from->body_digest;
    to->body_number = from->body_number;
    to->eight_bit = from->eight_bit != 0;
    to->received_ms = from->received_ms;
    to->received_wall_ms = from->received_wall_ms;
    to->deadline_ms = from->deadline_ms;
    to->held = from->held != 0;
    to->possible_duplicates = from->possible_duplicates;
    to->phase = (enum phase)from->phase;
    to->dsn = (enum dsn_fate)from->dsn;
    to->dsn_attempts = from->dsn_attempts;
    to->dsn_next_ms = from->dsn_next_ms;
    to->dsn_deadline_ms = from->dsn_deadline_ms;
    to->settled_ms = from->settled_ms;
    to->settled_wall_ms = from->settled_wall_ms;
    to->held_index = from->held_index;
    to->sender_auth = (enum sender_auth)from->sender_auth;
    to->smtputf8 = from->smtputf8 != 0;
    to->digest_until_ms = from->digest_until_ms;
}

/* A field we do not know means a newer writer, or damage: what it asks for is not guessed. */
static bool known_fields_only(const Trispool__EnvelopeRecord *m)
{
    if (m->base.n_unknown_fields != 0)
        return false;
    for (size_t i = 0; i < m->n_rcpts; i++)
        if (m->rcpts[i]->base.n_unknown_fields != 0)
            return false;
    return true;
}

static enum err convert(const Trispool__EnvelopeRecord *m, struct arena *a,
                        struct envelope *out)
{
    if (m->id.len != sizeof out->id.b || m->n_rcpts > LIMIT_SMTP_RCPTS || !known_fields_only(m))
        return E_PROTO;
    copy_numbers(m, out);
    if (!copy_strings(m, a, out) || !copy_rcpts(m, a, out))
        return E_FULL;
    return legal(out) ? OK : E_PROTO;
}

enum err envelope_decode(struct str bytes, struct arena *a, struct envelope *out)
{
    struct arena scratch;
    ProtobufCAllocator allocator = {
        .alloc = scratch_alloc, .free = scratch_free, .allocator_data = &scratch};
    const Trispool__EnvelopeRecord *m;
    enum err e = E_PROTO;

    *out = (struct envelope){0};
    if (bytes.n == 0 || bytes.n > LIMIT_ENVELOPE_BYTES)
        return E_PROTO;
    arena_init(&scratch, SCRATCH_BYTES);
    m = trispool__envelope_record__unpack(&allocator, bytes.n, (const uint8_t *)bytes.p);
    if (m != NULL)
        e = convert(m, a, out);
    arena_reset(&scratch);
    if (e != OK)
        *out = (struct envelope){0};
    return e;
}
