"""The domains of Shadow Hubble and, under ``platform``, the infrastructure they stand on."""
