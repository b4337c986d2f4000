"""Seccomp filters in tests: a test's script puts one over itself before it tries what the filter refuses."""

# For a script in another process; `text` is the assembled filter.
INSTALL_FILTER = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(text)
packed = struct.pack("@HP", len(text) // 8, ctypes.addressof(buffer))
address = ctypes.cast(ctypes.c_char_p(packed), ctypes.c_void_p).value
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_void_p(address), 0, 0) == 0
"""
