"""Kernel texts to LLVM without Numba's front end: a text is parsed, typed and emitted as LLVM assembly in one pass.

`flow` has blocks and variables, `scalars` expressions, `calls` functions, `arrays` memory, `body` statements, and
`bridge` hands the assembly to Numba as an intrinsic, so that dispatch, boxing and the disk cache stay Numba's.
"""
