"""Writes codebooks_bitmaps.h: the IQ codebooks as bitmaps (codebooks.cpp says how they are read), from the tables in
the package `gguf` of the ggml project (MIT licence): `pip install gguf==0.19.0 && python native/core/codebooks.py`."""

from pathlib import Path

from gguf import quants

CODEBOOKS = {
    "kIq2XxsBitmap": quants.IQ2_XXS,
    "kIq2XsBitmap": quants.IQ2_XS,
    "kIq2SBitmap": quants.IQ2_S,
    "kIq3XxsBitmap": quants.IQ3_XXS,
    "kIq3SBitmap": quants.IQ3_S,
    "kIq1Bitmap": quants.IQ1_S,
}

HEADER = """\
// Written by codebooks.py from the tables of ggml (MIT licence); do not edit. Bit k of a bitmap, which is bit k % 64 of
// word k / 64, says whether the point numbered k belongs to the codebook; see codebooks.cpp.
#pragma once

#include <array>
#include <cstdint>

namespace moescope {

// clang-format off
"""

FOOTER = """\
// clang-format on

}  // namespace moescope
"""


def bitmap(codebook):
    """The words of a codebook's bitmap. Fails unless its points are distinct and in ascending order."""
    codebook.init_grid()
    levels = list(codebook.grid_map)
    points = codebook.grid.reshape(codebook.grid_shape)
    numbers = [sum(levels.index(x) * len(levels) ** k for k, x in enumerate(point)) for point in points]
    assert numbers == sorted(set(numbers))
    bits = sum(1 << number for number in numbers)
    words = -(-len(levels) ** codebook.grid_shape[1] // 64)
    return [bits >> (64 * w) & (2**64 - 1) for w in range(words)]


def table(name, words):
    lines = [", ".join(f"0x{word:016x}" for word in words[i : i + 5]) for i in range(0, len(words), 5)]
    start = f"inline constexpr std::array<uint64_t, {len(words)}> {name} = {{\n    "
    return start + ",\n    ".join(lines) + ",\n};\n"


def main():
    tables = [table(name, bitmap(codebook)) for name, codebook in CODEBOOKS.items()]
    Path(__file__).with_name("codebooks_bitmaps.h").write_text(HEADER + "\n".join(tables) + FOOTER)


if __name__ == "__main__":
    main()
