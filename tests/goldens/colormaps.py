"""Prints the 64 colours of viridis and cividis (matplotlib; CC0) that src/attribution/colormap_tables.rs holds.
usage: python3 tests/goldens/colormaps.py > src/attribution/colormap_tables.rs && cargo fmt"""
from matplotlib import colormaps

print("//! Viridis (van der Walt and Smith, 2015) and cividis (Nuñez et al., arXiv 1712.01662): 64 colours each, sRGB.")
print("//!\n//! Printed by `tests/goldens/colormaps.py` from matplotlib's tables (CC0).")
for name in ("viridis", "cividis"):
    print(f"\n/// {name.capitalize()} at equal steps from 0 to 1.\npub(super) const {name.upper()}: [[u8; 3]; 64] = [")
    for i in range(64):
        print("    [{}, {}, {}],".format(*(round(255 * v) for v in colormaps[name](i / 63)[:3])))
    print("];")
