"""Text to image: the diffusion model listens to the language model."""
