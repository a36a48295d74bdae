/* main for fuzzers built without libFuzzer (gcc, tests): replays the files named on the command
 * line, or runs N random inputs (default 20,000) from a seed: x_fuzz [--runs N] [--seed S]
 * FILE... */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_file(const char *name)
{
    FILE *f = fopen(name, "rb");
    static uint8_t buf[1 << 20];
    size_t n;

    if (f == NULL) {
        perror(name);
        exit(2);
    }
    n = fread(buf, 1, sizeof buf, f);
    fclose(f);
    LLVMFuzzerTestOneInput(buf, n);
}

static void run_random(uint64_t seed, uint64_t runs)
{
    /* bytes that parsers of this house care about, more often than others */
    static const char liked[] = "\r\n.<>@:;,\"\\ -=05421aEMAILRCPTDATA\0";
    struct prng r;
    uint8_t buf[512];

    prng_seed(&r, seed);
    for (uint64_t i = 0; i < runs; i++) {
        size_t n = (size_t)prng_below(&r, prng_below(&r, 4) == 0 ? sizeof buf : 40);

        for (size_t k = 0; k < n; k++)
            buf[k] = prng_below(&r, 4) == 0 ? (uint8_t)prng_next(&r)
                                            : (uint8_t)liked[prng_below(&r, sizeof liked)];
        LLVMFuzzerTestOneInput(buf, n);
    }
    printf("runs=%llu seed=%llu\n", (unsigned long long)runs, (unsigned long long)seed);
}

int main(int argc, char **argv)
{
    uint64_t runs = 20000, seed = 1;
    int files = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc) {
            runs = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
        } else {
            run_file(argv[i]);
            files++;
        }
    }
    if (files == 0)
        run_random(seed, runs);
    return 0;
}
