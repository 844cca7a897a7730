"""What `make check` asks other people's tools about the template and the code.

`skips.yaml` says which of their findings are let pass, where, and why.
"""
