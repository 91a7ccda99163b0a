"""One model that reads, looks, hears and answers."""
