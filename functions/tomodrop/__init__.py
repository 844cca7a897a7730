"""What the six steps do: pure decisions, and the thin calls that carry them out.

The way of an image, module by module: `events` (what woke us) → `uploads` (what was dropped) →
`imaging` (the normalised slice) → `slices` (its index line) → `windows` and `batches` (whose turn
it is) → `dispatching` (the transform job) → `collecting` (its answers) → `predictions` and
`publishing` (the JSON). For the model: `dataset` → `copies` → `halves` → `manifests` →
`audit` → `retraining` → `promotion` → `live_model`.
"""
