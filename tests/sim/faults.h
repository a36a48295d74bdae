/* faults: what goes wrong in a simulated cluster, when, and when it is over. All by chance out
 * of the seed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct node;

#define SIM_FAULTS 25
const char *fault_name(unsigned kind);

/* The weather of this run: delays, disks. */
void faults_weather(void);
/* From now on something goes wrong every few seconds, until `until_us`. `only`: a bit for each
 * kind that may happen. */
void faults_begin(uint64_t until_us, uint32_t only);
/* Everything is well again, and stays so: links, disks, primaries; all nodes run. */
void faults_end(void);
bool faults_all_well(void);         /* all nodes are up, members, and filled */
uint32_t faults_mask_of_wipe(void); /* its bit in `only` */
/* A disk is lost, and its node added anew; nothing happens when that would be the second one.
 */
void faults_wipe(void);
/* When all is well, in two steps: the spool of a node is kept as it is; an older one is put
 * back. */
struct node *faults_keep_spool(void); /* NULL: nothing was kept */
void faults_set_back(struct node *n);
/* All machines stop for that long: power is off everywhere, or they are suspended. */
void faults_rest(uint64_t us);
uint64_t faults_count(unsigned kind);
