"""Text: tokenizer, language model, generation and export."""
