import os
def f(x):
    found = []
    for p in os.listdir("/proc"):
        if not p.isdigit() or p == os.readlink("/proc/self"): continue
        for what in ["mem", "environ", "maps", *(f"fd/{n}" for n in range(3, 32))]:
            for mode in ("rb", "wb", "r+b"):
                try:
                    open(f"/proc/{p}/{what}", mode).close(); found.append((p == "1", what, mode))
                except OSError: pass
    return [entry for entry in found if not entry[0] or entry[2] != "rb"]
