"""From the bytes a user sent to the pixels a model sees: the only place that decodes uploads."""
