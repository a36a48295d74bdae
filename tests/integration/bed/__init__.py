"""A bed: three sites, a customer, senders and a DNS on one Linux machine, all of whose links, disks
and processes fail on command. README.md tells how it is used."""
