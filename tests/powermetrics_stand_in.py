"""A stand-in for Apple's powermetrics, which only a Mac has: the options the meter gives, and lists of the same shape.

Keys, types and their order are those of a list an M1 printed (macOS 13.3; graelo/pumas, tests/data,
powermetrics-output-m1.xml), the tables of frequencies left out. The NUL between two lists is man powermetrics'
"machine-readable property list, NUL-separated"; what it says to others than root is from green-coding-solutions/hog,
power_logger.py. Figures are made up: 100 mJ of CPU, 200 of GPU and 1 of the Neural Engine in each list. A list comes
every 20 ms, not 200, so that tests are quick, and says how long it really was.

    powermetrics_stand_in.py MODE LOG --samplers cpu_power,gpu_power -i 200 -f plist -b 1

MODE ``well``, ``user`` (has no rights), ``keyless`` (no energy in any list), ``gap`` (nor in its third),
``torn`` (dies within its third) or ``deaf`` (prints nothing more after two and ignores SIGTERM).
LOG gets a line with its process id.
"""

import os
import signal
import sys
import time
from pathlib import Path

LIST = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
<key>is_delta</key><true/>
<key>elapsed_ns</key><integer>{elapsed_ns}</integer>
<key>hw_model</key><string>stand-in for a Mac, not one</string>
<key>kern_bootargs</key><string></string>
<key>timestamp</key><date>2023-04-01T13:18:36Z</date>
<key>processor</key>
<dict>
<key>clusters</key>
<array>
<dict>
<key>name</key><string>E-Cluster</string>
<key>freq_hz</key><real>1.02287e+09</real>
<key>idle_ratio</key><real>0.772993</real>
</dict>
</array>
{processor}</dict>
<key>thermal_pressure</key><string>Nominal</string>
<key>gpu</key>
<dict>
<key>freq_hz</key><real>714.836</real>
<key>idle_ns</key><integer>1980028458</integer>
<key>idle_ratio</key><real>0.983341</real>
<key>idle_ns</key><integer>1980028458</integer>
<key>gpu_energy</key><integer>{gpu_mj}</integer>
</dict>
</dict>
</plist>
"""
ENERGIES_MJ = {"cpu": 100, "gpu": 200, "ane": 1}


def listed(elapsed_ns, energies_mj, keys=("energy", "power", "combined")):
    """One list, of the energies in mJ; powers in mW follow from them, as they do in real lists."""
    lines, seconds = [], elapsed_ns * 1e-9
    for part, energy in energies_mj.items():
        if "energy" in keys:
            lines.append(f"<key>{part}_energy</key>\n<integer>{energy}</integer>\n")
        if "power" in keys:
            lines.append(f"<key>{part}_power</key>\n<real>{energy / seconds:.6g}</real>\n")
    if "combined" in keys:
        lines.append(f"<key>combined_power</key>\n<real>{sum(energies_mj.values()) / seconds:.6g}</real>\n")
    text = LIST.format(elapsed_ns=elapsed_ns, processor="".join(lines), gpu_mj=energies_mj.get("gpu", 0))
    return text.encode()


def main():
    mode, log, *options = sys.argv[1:]
    assert options == ["--samplers", "cpu_power,gpu_power", "-i", "200", "-f", "plist", "-b", "1"]
    if mode == "user":
        print("powermetrics must be invoked as the superuser")
        sys.exit(1)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # of a program in C; Python ignores it
    signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "deaf" else lambda *_: sys.exit(0))
    with Path(log).open("a") as file:
        file.write(f"{os.getpid()}\n")
    out, last, count = sys.stdout.buffer, time.monotonic_ns(), 0
    while True:
        time.sleep(0.02 if mode != "deaf" or count < 2 else 60)
        now = time.monotonic_ns()
        last, elapsed_ns, count = now, now - last, count + 1
        keyless = mode == "keyless" or (mode == "gap" and count == 3)
        text = listed(elapsed_ns, ENERGIES_MJ, ("power",) if keyless else ("energy", "power", "combined"))
        if mode == "torn" and count == 3:
            out.write(b"\0" + text[: len(text) // 2])
            out.flush()
            sys.exit(1)
        out.write((b"\0" if count > 1 else b"") + text)
        out.flush()


if __name__ == "__main__":
    main()
