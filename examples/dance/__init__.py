"""Dancers with known beats: a body, choreography on a beat, and a small software renderer."""
