"""Where untrusted bytes are decoded: in processes with limits, never in the function's own.

A warm process (`zygote`) has imported the decoders and holds no credentials. It forks a child per
upload; the child limits itself (`confinement`, `seccomp`), decodes, and answers with JSON and PNGs
through a pipe (`answers`). The function (`parent`) believes nothing of an answer unchecked.

Only plain forks and pipes: Lambda has no shared memory, so `multiprocessing` does not work there.
"""
