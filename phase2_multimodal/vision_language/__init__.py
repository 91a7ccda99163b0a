"""The vision-language model: pictures enter the language model as a prefix of embeddings."""
