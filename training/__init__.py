"""The learning half of Tomodrop: the algorithm container and what feeds it by hand."""
