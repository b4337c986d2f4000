# A claim of thousands of empty fields, a byte at a time: who reads it must not spend its own time on each.
import os
import struct


def f(x):
    data = struct.pack(">I", 60000) + bytes(4 * 60000)
    for at in range(len(data)):
        for descriptor in range(4, 6):
            try:
                os.write(descriptor, data[at : at + 1])
            except OSError:
                pass
