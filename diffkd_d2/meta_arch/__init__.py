"""The meta-architecture: where student and teacher meet, and what is taken from each."""
