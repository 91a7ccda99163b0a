"""Engines: the same fit on several processes. One file each, chosen by `--strategy`."""
