"""The meta-architecture: a student, its frozen teachers, and the points that compare their outputs."""
