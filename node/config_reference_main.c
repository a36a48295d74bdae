/* Prints docs/configuration.md from the table of keys. */
#include "node/config.h"

int main(void)
{
    node_config_print_reference(stdout);
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
