"""Phase 3: the same models on more machines, with fewer bits, with fewer weights."""
