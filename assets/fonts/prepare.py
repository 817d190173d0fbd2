#!/usr/bin/env python3
"""Makes the viewer's Inter from the font's release: tabular figures by default, and only the scripts the viewer shows.

egui has no switch for OpenType features, so the figures of `tnum` are put into the character map itself: columns of
numbers then stand still while they change. Needs fontTools; written for Inter 4.0 (https://rsms.me/inter).

    python3 prepare.py FOLDER_OF_INTER_OTF
"""

import pathlib
import sys

from fontTools import subset, ttLib

WEIGHTS = ["Regular", "Medium", "SemiBold"]
# Latin with its extensions, Greek, Cyrillic, punctuation, superscripts, currency, letterlike, arrows, mathematics, technical
# (keys), shapes, ticks: file names of patients come in many languages.
UNICODES = [
    (0x0020, 0x024F), (0x02B0, 0x03FF), (0x0400, 0x04FF), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x2070, 0x209F),
    (0x20A0, 0x20BF), (0x2100, 0x214F), (0x2190, 0x21FF), (0x2200, 0x22FF), (0x2300, 0x23FF), (0x25A0, 0x25FF),
    (0x2700, 0x27BF),
]


def substitutions(font, feature):
    """The single substitutions of one feature, by glyph name."""
    table = font["GSUB"].table
    lookups = {
        index
        for record in table.FeatureList.FeatureRecord
        if record.FeatureTag == feature
        for index in record.Feature.LookupListIndex
    }
    pairs = {}
    for index in lookups:
        for subtable in table.LookupList.Lookup[index].SubTable:
            subtable = getattr(subtable, "ExtSubTable", subtable)
            pairs.update(getattr(subtable, "mapping", {}))
    return pairs


def prepare(source, target):
    font = ttLib.TTFont(source)
    tabular = substitutions(font, "tnum")
    assert tabular, f"{source} has no tabular figures"
    for table in font["cmap"].tables:
        if not table.isUnicode():
            continue
        for code, glyph in list(table.cmap.items()):
            # Figures only: spaces, brackets and signs keep their own widths.
            if 0x30 <= code <= 0x39 and glyph in tabular:
                table.cmap[code] = tabular[glyph]
    # Interpolated weights are off by a few units of 2,816: the same advance for all.
    figures = [font.getBestCmap()[code] for code in range(0x30, 0x3A)]
    advance = max(font["hmtx"][glyph][0] for glyph in figures)
    for glyph in figures:
        assert advance - font["hmtx"][glyph][0] <= 4, f"{source}: {glyph} is not tabular"
        font["hmtx"][glyph] = (advance, font["hmtx"][glyph][1])
    options = subset.Options()
    options.layout_features = ["kern", "mark", "mkmk", "ccmp", "locl"]
    options.name_IDs = ["*"]
    options.hinting = True
    options.notdef_outline = True
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[code for first, last in UNICODES for code in range(first, last + 1)])
    subsetter.subset(font)
    font.save(target)
    print(f"{target}: {len(font.getGlyphOrder())} glyphs, {pathlib.Path(target).stat().st_size} bytes")


if __name__ == "__main__":
    here = pathlib.Path(__file__).parent
    for weight in WEIGHTS:
        prepare(pathlib.Path(sys.argv[1]) / f"Inter-{weight}.otf", here / f"Inter-{weight}.otf")
