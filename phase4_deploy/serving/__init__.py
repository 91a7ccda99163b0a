"""The service: engine, API, keys, limits and what it says of itself."""
