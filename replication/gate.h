/*
 * gate: may this node take mail (INV-6)? It may while a peer's writer proves that it makes
 * things durable. Pure; boot ms.
 *
 *   CLOSED --3 good acks in a row, and closed long enough--> OPEN
 *   OPEN --no durable ack for 1 s--> CLOSED
 *   OPEN --slow, and a sibling is open--> CLOSED
 *
 * Closed at least 5 s, doubling to 60 s with each closing within a minute of the opening
 * before. A good ack is one that took at most 500 ms; while no sibling is open any ack is good,
 * so that slowness never closes all sites. In a row: with less than 1 s in between. Slow: of
 * the last 5 s, cut into tenths of a second, half of those with an ack (at least 8) have only
 * slow ones: one hiccup of a disk under load answers many acks at once. The ack of what waited
 * for bodies on their way is proof, but never slow. At start: CLOSED, without a
 * minimum. Limits: LIMIT_GATE_*.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define GATE_SAMPLES 64

struct gate {
    bool open;
    uint64_t opened_ms, closed_ms; /* when last */
    uint64_t hold_ms;              /* closed at least so long */
    uint64_t last_ack_ms;          /* 0: none */
    uint32_t good;                 /* good ones in a row while closed */
    uint32_t any;                  /* slow ones included              */
    uint32_t count, head;
    struct {
        uint64_t at_ms;
        bool slow;
    } samples[GATE_SAMPLES];
};

void gate_init(struct gate *g, uint64_t now);
/* A durable ack of a peer's writer that took so long. `is_body`: behind bodies, see
 * above. */
void gate_ack(struct gate *g, uint64_t took_ms, bool is_body, uint64_t now);
/* Decides; true: the state has changed. */
bool gate_step(struct gate *g, bool sibling_open, uint64_t now);
/* When gate_step() may change the state by the passing of time alone; UINT64_MAX: never. */
uint64_t gate_deadline(const struct gate *g);
