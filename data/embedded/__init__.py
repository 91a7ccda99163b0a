"""The small real packs that travel with the code, and the scripts that rebuild them."""
