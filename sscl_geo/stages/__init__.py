"""The story, one file a step."""
