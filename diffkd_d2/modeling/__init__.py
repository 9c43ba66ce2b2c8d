"""Models: what makes a teacher of one."""
