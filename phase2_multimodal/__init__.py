"""Phase 2: the modalities meet (captions, questions about pictures, pictures from text)."""
